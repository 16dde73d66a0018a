"""Servers of the tests: each started once a session, through the stack's own classes, on a free port."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import pytest

from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server
from stack.settings import REPOSITORY
from tests import spark_submit as by_spark
from tests.s3_service import S3Service

ServerT = TypeVar("ServerT", bound=Server)
SparkSubmit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def stack_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A stack folder of this test session."""
    return Home(tmp_path_factory.mktemp("stack"), any_port=True)


@pytest.fixture(scope="session")
def kafka_server(stack_home: Home) -> Iterator[KafkaBroker]:
    """A running broker; no topic."""
    yield from running(KafkaBroker(stack_home))


@pytest.fixture
def mortal_kafka(kafka_server: KafkaBroker) -> Iterator[KafkaBroker]:
    """The broker for a test that stops or kills it: it runs again afterwards.

    The sockets of connections that it refused are collected while the test ignores them.
    """
    yield kafka_server
    kafka_server.start()
    gc.collect()


@pytest.fixture(scope="session")
def kafka(kafka_server: KafkaBroker) -> str:
    """The bootstrap address of a running broker."""
    return kafka_server.address


@pytest.fixture(scope="session")
def postgres_server(stack_home: Home) -> Iterator[PostgreSql]:
    """A running PostgreSQL with an empty database."""
    yield from running(PostgreSql(stack_home))


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgreSql) -> dict[str, str]:
    """The libpq environment (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD) of an empty database."""
    return postgres_server.connection


@pytest.fixture(scope="session")
def s3(stack_home: Home) -> Iterator[S3Service]:
    """A running S3 service with the bucket `lake`."""
    yield from running(S3Service(stack_home))


@pytest.fixture(scope="session")
def spark_submit() -> SparkSubmit:
    """Run a job of jobs/spark as Spark's host does: `spark_submit("archive_raw", "--topic", "t", env={…})`."""

    def submit(
        job: str, *arguments: str, env: Mapping[str, str] | None = None, limit: float = 240
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*by_spark.command(f"jobs/spark/{job}.py"), *arguments],
            cwd=REPOSITORY,
            env={**by_spark.environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    return submit


def running(server: ServerT) -> Iterator[ServerT]:
    """The server while it runs, for a fixture to yield from."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
