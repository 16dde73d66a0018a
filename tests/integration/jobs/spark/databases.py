"""A schema of its own in PostgreSQL for each test of the marts."""

from __future__ import annotations

import os
import uuid
from typing import Any

import psycopg
import pytest

from jobs.spark.migrations import OWNER, READER
from stack.settings import DATABASE_LOGIN


@pytest.fixture
def database(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of this process leads to a new, empty schema, and to no other."""
    schema = f"marts_{uuid.uuid4().hex}"
    for name, value in {**postgres, "PGOPTIONS": f"-c search_path={schema}"}.items():
        monkeypatch.setenv(name, value)
    with as_owner() as connection:
        make_schema(connection, schema)


def make_schema(owner: psycopg.Connection[Any], schema: str) -> None:
    """An empty schema that the jobs' login may use, and the reader."""
    owner.execute(f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO {DATABASE_LOGIN}, {READER}".encode())


def as_owner() -> psycopg.Connection[Any]:
    """A connection of the tables' owner to the database of the environment, in autocommit mode."""
    return psycopg.connect("", options=f"{os.environ['PGOPTIONS']} -c role={OWNER}", autocommit=True)


def rows_of(query: str) -> list[tuple[Any, ...]]:
    """The rows of a query in the database of the environment, whoever may read them."""
    assert os.environ.get("PGOPTIONS"), "the test does not use the fixture `database`"
    with as_owner() as connection:
        return connection.execute(query.encode()).fetchall()
