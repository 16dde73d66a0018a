"""Loads of the cold tables under the eyes of a reader, and with PostgreSQL killed; their rows are not Spark's."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from jobs.known_errors import infrastructure_error
from jobs.spark.load_postgres import LOAD
from jobs.spark.mart_load import Complete, replace
from jobs.spark.migrations import OWNER, migrate
from stack.process import wait_for_end
from stack.settings import REPOSITORY
from tests.faults import reader
from tests.faults.chain import Chain
from tests.faults.conftest import FULL, Tell

if TYPE_CHECKING:
    from stack.server import Server

pytestmark = pytest.mark.faults

LOADS = 20 if FULL else 3
KILLS = 20 if FULL else 1
QUERIES_A_SECOND = 20
LIMIT_MS = 100  # of the 99th percentile of the waits, in full; of fewer reads that is the slowest one
LIMIT_SECONDS = 60
DAYS = [str(dt.date(2020, 8, 1) + dt.timedelta(number)) for number in range(60 if FULL else 30)]
CLICKS = 1600  # of a day of the first load; the n-th load has n times as many
SESSIONS, DOCUMENTS, AREAS = 400, 1600, 32  # of a day: parts of CLICKS
TIMES = ("first_click_ts", "last_click_ts", "session_duration_sec")


@dataclass(frozen=True)
class Rows:
    """A table of the mart; no cell of it needs quotes."""

    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]

    def csv(self, days: Collection[dt.date] | None) -> Iterator[bytes]:
        """All rows as CSV, whatever the days."""
        assert days is None
        for row in self.rows:
            yield (",".join(map(str, row)) + "\n").encode()


def marts(number: int) -> Complete:
    """The four tables of load `number`, counted from 1: every one holds `clicks(number)` clicks."""
    tables = {
        "daily_traffic": Rows(
            ["event_date", "total_events", "unique_sessions", "unique_documents", "peak_hour"],
            [(day, CLICKS * number, SESSIONS, DOCUMENTS, 13) for day in DAYS],
        ),
        "session_analysis": Rows(
            [*"session_id visit_no event_date click_count unique_docs".split(), *TIMES],
            [
                (f"{day}:{n}", 1, day, CLICKS // SESSIONS * number, 1, f"{day} 10:00Z", f"{day} 10:05Z", 300)
                for day in DAYS
                for n in range(SESSIONS)
            ],
        ),
        "popular_documents": Rows(
            ["event_date", "document_id", "title", "view_count", "unique_sessions"],
            [
                (day, n, f"A title as long as most of them are: {n}", CLICKS // DOCUMENTS * number, 1)
                for day in DAYS
                for n in range(DOCUMENTS)
            ],
        ),
        "clinical_areas": Rows(
            ["event_date", "clinical_area", "search_count", "unique_sessions", "weighted_clicks"],
            [(day, f"Area {n}", 1, 1, CLICKS / AREAS * number) for day in DAYS for n in range(AREAS)],
        ),
    }
    return Complete(str(number), dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(number), tables, {}, LOAD)


def clicks(number: int) -> tuple[int, ...]:
    """What a reader sees of load `number`: its clicks in each table."""
    return (CLICKS * number * len(DAYS),) * 4


def load(connection: psycopg.Connection[Any], number: int) -> float:
    """Replace the tables by those of load `number`; its seconds."""
    tables = marts(number)
    started = time.monotonic()
    replace(connection, tables)
    return time.monotonic() - started


def seen(chain: Chain) -> tuple[int, ...]:
    """What a reader sees now."""
    (row,) = chain.rows(reader.QUERY)
    return row


def vacuum(chain: Chain) -> None:
    """What autovacuum has done before the next day's load: the rows of the last one are gone."""
    with chain.connect() as connection:
        connection.execute(f"SET ROLE {OWNER}".encode())
        connection.execute("VACUUM session_analysis, daily_traffic, popular_documents, clinical_areas")


@pytest.fixture
def loaded(chain: Chain) -> Iterator[psycopg.Connection[Any]]:
    """The login's connection to a database that has the first load."""
    with chain.connect() as connection:
        migrate(connection)
        load(connection, 1)
        yield connection


def test_a_reader_through_loads_meets_old_or_new_and_does_not_wait(
    loaded: psycopg.Connection[Any], chain: Chain, tell: Tell
) -> None:
    user, password = chain.postgres.reader
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.reader", str(QUERIES_A_SECOND)],
        cwd=REPOSITORY,
        env={**os.environ, **chain.environment, "PGUSER": user, "PGPASSWORD": password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "reads\n"
        lengths = []
        for number in range(2, LOADS + 2):
            lengths.append(load(loaded, number))
            vacuum(chain)
        said, _ = process.communicate("end", LIMIT_SECONDS)
    asked = json.loads(said)
    answers = [answer for _, answer in asked if not isinstance(answer, str)]
    happened = {
        "empty": sum(None in answer for answer in answers),
        "mixed": sum(len(set(answer)) > 1 for answer in answers),
        "errors": len(asked) - len(answers),
    }
    waits = [seconds * 1000 for seconds, _ in asked]
    p50, p99 = (statistics.quantiles(waits, n=100)[number - 1] for number in (50, 99))
    tell(
        f"{len(asked)} reads through {LOADS} loads of {statistics.median(lengths):.1f} s: {happened}; "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(waits):.0f} ms"
    )
    assert not any(happened.values()), next((answer for _, answer in asked if isinstance(answer, str)), answers)
    right = [list(clicks(number)) for number in range(1, LOADS + 2)]
    assert [answer for answer, _ in itertools.groupby(answers)] == right, "not each load in its turn"
    assert len(asked) > LOADS
    # Whoever waited for a load would wait for half of it on average, however slow the machine is.
    assert p99 < (LIMIT_MS if FULL else statistics.median(lengths) * 1000 / 2)


def kill(server: Server) -> None:
    """Signal 9 to the postmaster alone; the others end because it has."""
    (daemon,) = server.daemons()
    members = daemon.members()
    assert daemon.pid
    os.kill(daemon.pid, signal.SIGKILL)
    wait_for_end(members, LIMIT_SECONDS)


def test_postgresql_killed_while_tables_are_loaded(
    loaded: psycopg.Connection[Any], chain: Chain, chance: random.Random, tell: Tell
) -> None:
    length = load(loaded, 2)
    happened = Counter({"old": 0, "new": 0, "too late": 0})
    number = 2
    while happened["old"] + happened["new"] < KILLS:
        number += 1
        before, after = seen(chain), clicks(number)
        with chain.connect() as connection, ThreadPoolExecutor(1) as thread:
            loading = thread.submit(load, connection, number)
            # A random moment: every other one near the commit, where old and new meet.
            time.sleep(chance.uniform(0.9 if number % 2 else 0, 1) * length)
            kill(chain.postgres)
            error = loading.exception(LIMIT_SECONDS)
        chain.postgres.start()
        found = seen(chain)
        if error is None:
            assert found == after
            happened["too late"] += 1
            continue
        assert isinstance(error, psycopg.Error)
        assert "PostgreSQL" in str(infrastructure_error(error)), error
        assert found in (before, after), "neither old nor new"
        happened["old" if found == before else "new"] += 1
        with chain.connect() as connection:
            load(connection, number)
        assert seen(chain) == after
    tell(f"kill -9 of PostgreSQL's postmaster during a load: readers meet {dict(happened)}; never a mixture")
