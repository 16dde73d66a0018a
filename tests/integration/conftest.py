"""Servers for the integration tests: started once a session, through the stack's own classes, on free ports."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server
from stack.settings import QUICK_JVM, REPOSITORY, SPARK_JARS, java_home

ServerT = TypeVar("ServerT", bound=Server)
SparkSubmit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def stack_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A stack folder of this test session."""
    return Home(tmp_path_factory.mktemp("stack"), any_port=True)


@pytest.fixture(scope="session")
def kafka_server(stack_home: Home) -> Iterator[KafkaBroker]:
    """A running broker; no topic."""
    yield from _running(KafkaBroker(stack_home))


@pytest.fixture(scope="session")
def kafka(kafka_server: KafkaBroker) -> str:
    """The bootstrap address of a running broker."""
    return kafka_server.address


@pytest.fixture(scope="session")
def postgres_server(stack_home: Home) -> Iterator[PostgreSql]:
    """A running PostgreSQL with an empty database."""
    yield from _running(PostgreSql(stack_home))


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgreSql) -> dict[str, str]:
    """The libpq environment (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD) of an empty database."""
    return postgres_server.connection


@pytest.fixture(scope="session")
def spark_submit() -> SparkSubmit:
    """Run a job of jobs/spark as Spark's host does: `spark_submit("archive_raw", "--topic", "t", env={…})`."""

    def submit(
        job: str, *arguments: str, env: Mapping[str, str] | None = None, limit: float = 240
    ) -> subprocess.CompletedProcess[str]:
        options = {
            "spark.master": "local[2]",
            "spark.driver.memory": "1g",
            "spark.jars": ",".join(str(jar) for jar in sorted(SPARK_JARS.glob("*.jar"))),
            "spark.ui.enabled": "false",
            "spark.driver.extraJavaOptions": QUICK_JVM,
        }
        confs = [word for name, value in options.items() for word in ("--conf", f"{name}={value}")]
        programs = Path(sys.executable).parent
        return subprocess.run(
            [str(programs / "spark-submit"), *confs, f"jobs/spark/{job}.py", *arguments],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(REPOSITORY),
                "PYSPARK_PYTHON": sys.executable,
                "JAVA_HOME": str(java_home()),
                "SPARK_LOCAL_IP": "127.0.0.1",
                **(env or {}),
            },
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    return submit


def _running(server: ServerT) -> Iterator[ServerT]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
