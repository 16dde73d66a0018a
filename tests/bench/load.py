"""The load of the whole history into empty tables, and of one more day, as whole processes.

The ceiling is one bare COPY of the same rows, from files, into the same empty, indexed tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from jobs.spark.migrations import OWNER, migrate
from jobs.spark.tables import COLD_MARTS
from tests.bench import etl, process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab
from tests.bench.starts import empty_job

STAGE = "load"
BLOCK_BYTES = 2**20


def everything(history: str, lab: Lab) -> Cost:
    """All rows of the tables of `lab.sizes.<history>` days into empty ones."""
    mart = etl.mart(history, lab)
    empty_tables(lab)
    return _load(lab, mart)


def one_more_day(lab: Lab) -> Cost:
    """What the day after the history changes, in the tables that hold the history."""
    etl.one_more_day("history", lab)
    return _load(lab, etl.mart("history", lab))


def bare_copy(lab: Lab) -> Cost:
    """The rows that the tables hold after the load, once more."""
    files = {table: lab.last("copy") / table for table in COLD_MARTS}
    lab.empty("copy")
    with _owner(lab) as owner:
        for table, file in files.items():
            with owner.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                _write(file, copy)
        owner.execute(f"TRUNCATE {', '.join(COLD_MARTS)}".encode())
        started = time.monotonic()
        with owner.transaction():
            for table, file in files.items():
                with owner.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                    for block in _blocks(file):
                        copy.write(block)
        return Cost(time.monotonic() - started)


def _load(lab: Lab, mart: Path) -> Cost:
    return process.job("load_postgres", f"--mart-path={mart}", environment=lab.postgres.connection)


def empty_tables(lab: Lab) -> None:
    """As the migrations make them: of other clicks there might be more rows than a load may take away."""
    with _owner(lab) as owner:
        owner.execute(f"TRUNCATE {', '.join(COLD_MARTS)}, mart_loads".encode())


@contextmanager
def _owner(lab: Lab) -> Iterator[psycopg.Connection[Any]]:
    """A connection of who owns the tables, which are there."""
    with psycopg.connect(**lab.postgres.login, autocommit=True) as connection:
        migrate(connection)
        connection.execute(f"SET ROLE {OWNER}".encode())
        yield connection


def _write(file: Path, copy: psycopg.Copy) -> None:
    with file.open("wb") as written:
        for block in copy:
            written.write(block)


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as read:
        while block := read.read(BLOCK_BYTES):
            yield block


ROWS = [
    # Of some seconds of work the start of Spark is the most: a reach is said of the whole history.
    Row("load, a year into empty tables", STAGE, partial(everything, "year"), bare_copy),
    Row(
        "load, the whole history into empty tables",
        STAGE,
        partial(everything, "history"),
        bare_copy,
        Reach("speed", 0.6),
    ),
    Row("load, a day more after the whole history", STAGE, one_more_day, empty_job),
]
