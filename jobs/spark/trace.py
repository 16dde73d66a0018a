"""From a table of PostgreSQL back to Kafka: its load, the ETL's run, the curated clicks, their offsets and days.

Reads only. --at says when the table was read (now, if not given), --day which of its rows are meant (all of them).
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from typing import TYPE_CHECKING, Any, Final

from jobs.arguments import day, moment
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.days import spans_of, spans_text
from jobs.errors import NonRetryableError
from jobs.known_errors import Known, recognised
from jobs.spark import tables
from jobs.spark.delta_log import commits
from jobs.spark.hot_marts import HORIZON, snapshot_of
from jobs.spark.mart import COLD, SEARCH, Run, TableVersion
from jobs.spark.postgres import connect
from jobs.spark.session import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.delta_log import Commit

_LOAD: Final = """
    SELECT loaded_at, loaded_by, run_id FROM mart_load_history WHERE table_name = %s AND loaded_at <= %s
    ORDER BY loaded_at DESC LIMIT 1
"""
_BATCH: Final = """
    SELECT updated_at, written_by, query_id, batch_id, max_event_ts FROM mart_realtime_batches
    ORDER BY updated_at DESC LIMIT 1
"""
_GONE: Final = ("FileNotFound", "FILE_NOT_EXIST", "VERSION_NOT_FOUND", "VERSIONS_NOT_CONTIGUOUS")
_KEPT: Final = "Delta keeps 30 days of it, and a table that is recreated begins a new one"


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog="trace", description=__doc__)
    every = (*COLD.names, *SEARCH.names, *tables.HOT_MARTS)
    result.add_argument("--table", required=True, choices=every, metavar="TABLE", help="of PostgreSQL")
    result.add_argument("--at", type=moment, help="when somebody read it, in UTC, as 2026-10-31T08:00")
    result.add_argument("--day", type=day, help="only the clicks of this event_date")
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    lake = [Data("lake", tables.table_path("{mart-path}", name)) for name in COLD.names]
    flow(result, reads=[*lake, Data("lake", tables.table_path("{curated-path}", tables.CLICKS))], writes=[])
    return result


def run(options: argparse.Namespace) -> None:
    """Print each step of the way back; JobError where the trail ends."""
    at = options.at or dt.datetime.now(dt.UTC)
    is_hot = options.table in tables.HOT_MARTS
    query, values = (_BATCH, ()) if is_hot else (_LOAD, (options.table, at))
    with connect() as connection:  # before Spark starts, so that a problem is reported at once
        written = connection.execute(query.encode(), values).fetchone()
    if not written:
        raise NonRetryableError(
            f"PostgreSQL has no load of {options.table} until {_text(at)}: a later --at reaches one; mart_load_history "
            "has none from before that table was added"
        )
    spark = session("trace")
    clicks, since = (_behind_batch if is_hot else _behind_load)(spark, options, at, *written)
    try:
        rows = clicks.rows(spark)
        rows = rows.where(rows.event_ts >= since) if since else rows
        _say_clicks(rows.where(rows.event_date == options.day) if options.day else rows, clicks)
    except Exception as error:
        gone = f"{clicks.path} version {clicks.version} can no longer be read, its files or its log were deleted"
        if known := recognised(
            error, [Known(sign, f"{gone}: trace a later --at", NonRetryableError) for sign in _GONE]
        ):
            raise known from None
        raise


def _behind_load(
    spark: SparkSession, options: argparse.Namespace, _: dt.datetime, when: dt.datetime, by: str | None, run_id: str
) -> tuple[TableVersion, None]:
    """The clicks that the ETL's run read."""
    say(f"PostgreSQL: {options.table}, loaded {_text(when)} by {by or 'hand'}")
    of_search = options.table in SEARCH.names
    root = tables.table_path(options.mart_path, tables.SEARCH) if of_search else options.mart_path
    path = tables.table_path(root, options.table)
    for version, commit in _versions(spark, _table(spark, path, "--mart-path")):
        if run_id in (commit.note or ""):
            say(f"mart: {path} version {version}, {_text(commit.when)}, run {run_id}")
            return Run.of(commit.note or "").clicks, None
    raise NonRetryableError(f"the log of {path} no longer has run {run_id}: {_KEPT}")


def _behind_batch(
    spark: SparkSession, options: argparse.Namespace, at: dt.datetime, when: dt.datetime, by: str | None, *batch: Any
) -> tuple[TableVersion, dt.datetime]:
    """The clicks of the 48 hours until the last micro-batch, or until an earlier `at`, and since when that is."""
    table_id, version, clock = batch
    clicks = _table(spark, tables.table_path(options.curated_path, tables.CLICKS), "--curated-path")
    if clicks.table_id != table_id:
        raise NonRetryableError(f"{clicks.path} is not the table whose clicks the hot tables have: it was recreated")
    if at >= when:
        say(f"PostgreSQL: {options.table}, micro-batch {version} of {_text(when)} by {by or 'hand'}")
    else:
        found = next((number for number, commit in _versions(spark, clicks) if commit.when <= at), None)
        if found is None:
            raise NonRetryableError(f"the log of {clicks.path} does not reach back to {_text(at)}: {_KEPT}")
        say(f"PostgreSQL: {options.table}, micro-batch {found} or the one before it")
        version, clock = found, min(clock, at)
    return TableVersion(clicks.path, table_id, version, clicks.notes_changes), snapshot_of(clock) - HORIZON


def _table(spark: SparkSession, path: str, option: str) -> TableVersion:
    found = TableVersion.newest(spark, path)
    if not found:
        raise NonRetryableError(f"there is no table in {path}: correct {option}")
    return found


def _versions(spark: SparkSession, table: TableVersion) -> Iterator[tuple[int, Commit]]:
    """The versions of a table that its log still has, newest first."""
    return zip(range(table.version, -1, -1), commits(spark, table.path, table.version), strict=False)


def _say_clicks(rows: DataFrame, clicks: TableVersion) -> None:
    """Where they are in Kafka, and of which days of the log."""
    from pyspark.sql import functions as F

    arrived = F.unix_timestamp("kafka_ts")
    partitions = rows.groupBy("topic", "partition").agg(
        F.count("*").alias("clicks"),
        F.min("offset").alias("first"),
        F.max("offset").alias("last"),
        F.min(arrived).alias("since"),
        F.max(arrived).alias("until"),
        F.collect_set(F.to_date("source_ts")).alias("days"),
    )
    found = partitions.orderBy("topic", "partition").collect()
    say(f"curated stream: {clicks.path} version {clicks.version}, {sum(row.clicks for row in found):,} of its clicks")
    for row in found:
        when = " to ".join(_text(dt.datetime.fromtimestamp(at, dt.UTC)) for at in (row.since, row.until))
        where = f"{row.topic} partition {row.partition} offsets {row.first} to {row.last}"
        say(f"Kafka: {where}, {row.clicks:,} clicks, arrived {when}")
    days = {each for row in found for each in row.days}
    say(f"log: {spans_text(spans_of(days)) or 'no day'}")


def _text(when: dt.datetime) -> str:
    return f"{when.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    sys.exit(main(parser(), run))
