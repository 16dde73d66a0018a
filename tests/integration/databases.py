"""A schema of its own in PostgreSQL for each test of the marts."""

import os
import uuid
from typing import Any

import psycopg
import pytest


@pytest.fixture
def database(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of this process leads to a new, empty schema, and to no other."""
    schema = f"marts_{uuid.uuid4().hex}"
    for name, value in {**postgres, "PGOPTIONS": f"-c search_path={schema}"}.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect("", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())


def rows_of(query: str) -> list[tuple[Any, ...]]:
    """The rows of a query in the database of the environment."""
    assert os.environ.get("PGOPTIONS"), "the test does not use the fixture `database`"
    with psycopg.connect("") as connection:
        return connection.execute(query.encode()).fetchall()
