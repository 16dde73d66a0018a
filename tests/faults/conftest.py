"""How many faults a run makes, from which seed, and how many really happened: said at its end."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql

FULL = os.environ.get("FAULTS") == "full"
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
_SAID = pytest.StashKey[list[str]]()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments, of this run's seed and this test."""
    return random.Random(f"{SEED}:{request.node.name}")  # noqa: S311


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say at the end of the run what happened in this test."""
    return lambda text: request.config.stash.setdefault(_SAID, []).append(f"{request.node.name}: {text}")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaBroker, PostgreSql]]:
    """A broker and a PostgreSQL that a test may kill, and then starts again."""
    home = Home(tmp_path_factory.mktemp("stack"), any_port=True)
    started = KafkaBroker(home), PostgreSql(home)
    try:
        for server in started:
            server.start()
        yield started
    finally:
        for server in started:
            server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The seed, and what each test told."""
    if said := config.stash.get(_SAID, []):
        terminalreporter.section("faults")
        terminalreporter.write_line(f"seed {SEED} (FAULTS_SEED={SEED} repeats it)")
        for line in said:
            terminalreporter.write_line(line)
