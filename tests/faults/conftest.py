"""How many faults a run makes, from which seed, and how many really happened: said at its end."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server
from tests.faults.chain import Chain

FULL = os.environ.get("FAULTS") == "full"
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
IN_FULL = pytest.mark.skipif(not FULL, reason="takes minutes: `make test-faults` runs it")
Tell = Callable[[str], None]
GOES_ON_SECONDS = 30  # after a broker's restart
SPARK_FAULTS = [
    pytest.mark.faults,
    pytest.mark.usefixtures("spark"),  # the session, with the jars, that jobs in this process find
    # kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
_SAID = pytest.StashKey[list[str]]()


def kill(server: Server) -> None:
    """End all its processes by signal 9, and see that they are gone."""
    for daemon in server.daemons():
        daemon.stop(signal.SIGKILL, 10)
        assert not daemon.members()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments, of this run's seed and this test."""
    return random.Random(f"{SEED}:{request.node.name}")  # noqa: S311


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Say at the end of the run what happened in this test."""
    return lambda text: request.config.stash.setdefault(_SAID, []).append(f"{request.node.name}: {text}")


@pytest.fixture
def servers(mortal_kafka: KafkaBroker, postgres_server: PostgreSql) -> Iterator[tuple[KafkaBroker, PostgreSql]]:
    """A broker and a PostgreSQL that a test may kill: both run again afterwards."""
    yield mortal_kafka, postgres_server
    postgres_server.start()


@pytest.fixture
def chain(servers: tuple[KafkaBroker, PostgreSql], tmp_path: Path) -> Chain:
    """A new chain."""
    return Chain(tmp_path / "chain", *servers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The seed, and what each test told."""
    if said := config.stash.get(_SAID, []):
        terminalreporter.section("faults")
        terminalreporter.write_line(f"seed {SEED} (FAULTS_SEED={SEED} repeats it)")
        for line in said:
            terminalreporter.write_line(line)
