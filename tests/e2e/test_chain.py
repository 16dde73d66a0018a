"""All eight DAGs in a real Airflow, with the real Docker engine, sshd, Kafka, Spark and PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from stack import demo
from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.home import Home
from stack.stack import Stack
from tests.reference import COLD_TABLES, cold_tables

pytestmark = pytest.mark.e2e

DAYS = demo.Days(count=3, scale=0.5)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own on free ports; its folder stays for a look when a test fails."""
    stack = Stack(Home(tmp_path_factory.mktemp("stack"), any_port=True))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def api(stack: Stack) -> AirflowApi:
    """A login on its Airflow, once the DAGs are there."""
    api = stack.airflow_api()
    demo.wait_for_dags(api)
    return api


@pytest.fixture(scope="module")
def cold_chain(stack: Stack, api: AirflowApi, capfd: pytest.CaptureFixture[str]) -> None:
    """The daily pipeline has run over DAYS, each task green."""


def rows(stack: Stack, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    """A table of PostgreSQL, sorted."""
    with psycopg.connect(**stack.postgres_login()) as connection:
        found = connection.execute(f"SELECT {', '.join(columns)} FROM {table}".encode()).fetchall()
    return sorted(found, key=repr)


def test_the_whole_chain(stack: Stack, api: AirflowApi, pytestconfig: pytest.Config) -> None:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # so that the progress is seen
        demo.generate(stack, DAYS)
        demo.follow(api, [(demo.DAILY, demo.start_cold(api, DAYS))], "\nCold chain")
        demo.follow(api, demo.start_hot(api, DAYS), "Hot chain")
        assert demo.report(stack, DAYS)
