"""How the tables of a mart come into PostgreSQL: in one transaction, so that readers see old or new.

If the ETL's run continues the one that PostgreSQL has, only the days that have changed; else everything.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobs.arguments import positive_float, true_or_false
from jobs.console import say
from jobs.errors import JobError, NonRetryableError
from jobs.spark import tables
from jobs.spark.mart import Mart, in_months
from jobs.spark.migrations import migrate
from jobs.spark.month_parts import month_of
from jobs.spark.postgres import as_csv, copy_rows, holders
from jobs.spark.session import run_of, session

if TYPE_CHECKING:
    import psycopg
    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.mart import Group


_NOTE: Final = """
    WITH load AS (
        INSERT INTO mart_loads (table_name, row_count, run_id, run_ended_at) VALUES (%s, %s, %s, %s)
        ON CONFLICT (table_name) DO UPDATE SET row_count = excluded.row_count, run_id = excluded.run_id,
            run_ended_at = excluded.run_ended_at, loaded_at = now()
        RETURNING table_name, loaded_at, run_id, row_count
    )
    INSERT INTO mart_load_history (table_name, loaded_at, loaded_by, run_id, row_count)
    SELECT table_name, loaded_at, nullif(%s, ''), run_id, row_count FROM load
"""
# Growth, as after a backfill, has no limit; duplicates show when the tables are compared with each other.
MAX_SHRINK_FACTOR = 1.25
# The driver, which may have only 1 GB, holds two parts at a time, as compressed text.
SETTINGS = {"spark.sql.files.maxPartitionBytes": "16m", "spark.sql.files.openCostInBytes": "1m"}


@dataclass(frozen=True)
class Load:
    """How a group's tables are loaded.

    `clicks`: by table the query of its clicks, which must be the same; `analyze`: the function that analyzes them all;
    `touched`: the days of a table that change when the clicks of some days do, None if all rows do; `may_shrink`:
    tables that may lose rows, even all.
    """

    group: Group
    clicks: Mapping[str, str]
    analyze: str
    touched: Callable[[str, Collection[dt.date]], Collection[dt.date] | None]
    may_shrink: Collection[str] = ()


def _factor(text: str) -> float:
    if positive_float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1: it would refuse an unchanged table")
    return float(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every load."""
    parser.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    fewer = "refuse a table with fewer rows than PostgreSQL has, divided by this"
    parser.add_argument("--max-shrink-factor", type=_factor, default=MAX_SHRINK_FACTOR, help=fewer)
    everything = "load all rows, even of a run that PostgreSQL already has, or of an older one"
    parser.add_argument("--in-full", type=true_or_false, default=False, help=everything)


class Rows(Protocol):
    """The rows of a table of the mart, wherever they are."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, in the order of `csv`."""

    def csv(self, days: Collection[dt.date] | None) -> Iterable[bytes]:
        """The rows of these days, or all rows, for `postgres.copy_rows`."""


@dataclass(frozen=True)
class LakeRows:
    """A table of the lake: all rows of a Delta table that keeps none of its deleted rows in its files."""

    rows: DataFrame

    @property
    def columns(self) -> Sequence[str]:
        """The names of the columns, in the order of `csv`."""
        return [name for name in self.rows.columns if name != tables.MART_PARTITION]

    def csv(self, days: Collection[dt.date] | None) -> Iterable[bytes]:
        """The rows of these days, or all rows, in any order."""
        rows = self.rows if days is None else in_months(self.rows, {month_of(day) for day in days})
        return as_csv(self.rows.sparkSession, rows.inputFiles(), self.columns, days)


@dataclass(frozen=True)
class Complete:
    """A complete run of the ETL: its id, when it ended, its rows.

    `changed_since`: by the id of this run and of earlier ones, the days of the clicks that have changed since;
    `loaded_by`: the run id of the DAG that loads it, if there is one.
    """

    run_id: str
    ended: dt.datetime
    tables: Mapping[str, Rows]
    changed_since: Mapping[str, Collection[dt.date]]
    load: Load
    loaded_by: str = ""


def load_mart(
    connection: psycopg.Connection[Any], job: str, root: str, options: argparse.Namespace, load: Load
) -> None:
    """Read what one run of the ETL wrote below `root`, and replace what PostgreSQL has; `options` are add_options'.

    The connection is there before Spark starts, so that a problem of it is reported at once.
    """
    migrate(connection)
    complete = read_marts(session(job, SETTINGS), root, load)
    replace(connection, complete, options.max_shrink_factor, in_full=options.in_full)
    say("committed: readers see the new tables")


def read_marts(spark: SparkSession, mart_path: str, load: Load) -> Complete:
    """The tables as one run of the ETL wrote them, even while the next one runs; JobError if there is none."""
    written = Mart(spark, mart_path, load.group).written()
    say(f"reads {mart_path}, run {written.run.run_id}")
    marts = {table: LakeRows(written.marts[table].rows(spark)) for table in load.group.names}
    return Complete(written.run.run_id, written.ended, marts, written.changed_since, load, run_of(spark))


def replace(
    connection: psycopg.Connection[Any],
    complete: Complete,
    max_shrink_factor: float = MAX_SHRINK_FACTOR,
    *,
    in_full: bool = False,
) -> None:
    """Replace the tables by this run's in one transaction; keys, indexes, grants and views stay, no reader waits.

    JobError: a run older than the one that PostgreSQL has, unless `in_full`; a mart that is empty, much smaller than
    what is there, or whose tables disagree on the clicks; then nothing changes.
    """
    with _alone(connection, complete.tables):
        days = None if in_full else _days_to_load(connection, complete)
        say("loads all days" if days is None else f"loads what has changed: {len(days)} days of clicks")
        for table, rows in complete.tables.items():
            changed = None if days is None else complete.load.touched(table, days)
            before, now = _replace_table(connection, table, rows, changed)
            if table not in complete.load.may_shrink:
                _refuse_a_loss(table, before, now, max_shrink_factor)
            connection.execute(_NOTE, (table, now, complete.run_id, complete.ended, complete.loaded_by))
        _refuse_a_contradiction(connection, complete.load)
        connection.execute(f"SELECT {complete.load.analyze}".encode())


@contextmanager
def _alone(connection: psycopg.Connection[Any], names: Collection[str]) -> Iterator[None]:
    """A transaction for whose end a second load waits; readers do not. JobError: the load before this one hangs."""
    import psycopg

    try:
        with connection.transaction():
            connection.execute(f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE".encode())
            yield
    except psycopg.errors.LockNotAvailable:
        raise JobError(
            f"another load did not end while this one waited for it: {holders(connection, names, readers=False)} "
            "of PostgreSQL: end it, or if its host hangs, its session (pg_terminate_backend), and run this one again; "
            "nothing has changed"
        ) from None


def _days_to_load(connection: psycopg.Connection[Any], complete: Complete) -> Collection[dt.date] | None:
    """The days that have changed since the run that PostgreSQL has; None if unknown."""
    query = "SELECT run_id, run_ended_at FROM mart_loads WHERE run_id IS NOT NULL AND table_name = ANY(%s) LIMIT 1"
    there = connection.execute(query, (list(complete.tables),)).fetchone()
    if not there:
        return None
    run_id, ended = there
    if ended > complete.ended and run_id != complete.run_id:
        raise NonRetryableError(
            f"PostgreSQL has run {run_id} of {ended:%Y-%m-%d %H:%M:%S}, and this is an older one, {complete.run_id} of "
            f"{complete.ended:%Y-%m-%d %H:%M:%S}: PostgreSQL keeps what it has; trigger the load with in_full if the "
            "older one is right"
        )
    return complete.changed_since.get(run_id)


def _replace_table(
    connection: psycopg.Connection[Any],
    table: str,
    rows: Rows,
    days: Collection[dt.date] | None,
) -> tuple[int, int]:
    """Replace all rows, or those of `days`; returns how many the table had and has now."""
    started = time.monotonic()
    changed = None if days is None else sorted(days)
    ((before,),) = connection.execute(f"SELECT count(*) FROM {table}".encode())
    where, values = ("", ()) if changed is None else (" WHERE event_date = ANY(%s)", (changed,))
    deleted = connection.execute(f"DELETE FROM {table}{where}".encode(), values).rowcount
    written = copy_rows(connection, table, rows.columns, rows.csv(changed))
    now: int = before - deleted + written
    say(f"{table}: {written:,} rows instead of {deleted:,}, took {time.monotonic() - started:.1f} s")
    return before, now


def _refuse_a_loss(table: str, before: int, now: int, factor: float) -> None:
    if not now:
        raise NonRetryableError(f"{table} of the mart is empty: PostgreSQL keeps what it has; check the ETL's log")
    if now * factor < before:
        raise NonRetryableError(
            f"{table} of the mart has {now:,} rows, PostgreSQL {before:,}, more than {factor:g} times as many: "
            "PostgreSQL keeps what it has; check the ETL's log and the curated stream, or, if it is intended, trigger "
            "the load with a higher max_shrink_factor"
        )


def _refuse_a_contradiction(connection: psycopg.Connection[Any], load: Load) -> None:
    clicks = {}
    for table, query in load.clicks.items():
        row = connection.execute(query.encode()).fetchone()
        clicks[table] = int(row[0] or 0) if row else 0
    if len(set(clicks.values())) > 1:
        counted = ", ".join(f"{table} {count:,}" for table, count in clicks.items())
        raise NonRetryableError(
            f"the tables of the mart do not hold the same clicks ({counted}): PostgreSQL keeps what it has; run "
            f"{load.group.job} again"
        )
