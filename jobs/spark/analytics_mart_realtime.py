"""Curated stream → the hot tables of PostgreSQL, a micro-batch every few minutes; ends after --run-minutes."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from typing import TYPE_CHECKING

from jobs.arguments import positive_float, positive_int, true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.errors import JobError
from jobs.spark import tables
from jobs.spark.delta_log import is_table
from jobs.spark.hot_stream import HotStream
from jobs.spark.migrations import migrate
from jobs.spark.one_writer import one_writer
from jobs.spark.postgres import connect
from jobs.spark.recent_clicks import MEMORY_MB, RecentClicks
from jobs.spark.session import session
from jobs.spark.streaming import Limits, repeat

if TYPE_CHECKING:
    from jobs.spark.streaming import Stop

MAX_INTERVAL_MINUTES = 5.0
NAME = "analytics_mart_realtime"


def _interval(text: str) -> float:
    minutes = positive_float(text)
    if minutes > MAX_INTERVAL_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MAX_INTERVAL_MINUTES:g} minutes")
    return minutes


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog=NAME, description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--checkpoint-path", required=True, help="root folder of the checkpoints; the lease is there")
    result.add_argument("--run-minutes", type=positive_float, default=60.0)
    result.add_argument("--interval-minutes", type=_interval, default=5.0, help="between two micro-batches")
    result.add_argument("--until-caught-up", type=true_or_false, default=False, help="end when all is read")
    keep = (
        "keep snapshots for so many days, by event time and by the wall clock; minutes and anomalies are kept forever"
    )
    result.add_argument("--keep-snapshot-days", type=positive_int, default=7, help=keep)
    memory = (
        "of the driver, in addition to the JVM's, for the last 48 hours of clicks; the rest goes to a temporary file"
    )
    result.add_argument("--memory-mb", type=positive_int, default=MEMORY_MB, help=memory)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", tables.CLICKS))],
        writes=[Data("postgresql", name) for name in tables.HOT_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Follow the curated stream from the horizon on, in rounds."""
    with connect() as connection:  # before Spark starts, so that a problem is reported at once
        migrate(connection)
    spark = session(NAME)
    path = tables.table_path(options.curated_path, tables.CLICKS)
    if not is_table(spark, path):
        raise JobError(f"there is no curated stream in {path}: run streaming_curated first")
    with one_writer(spark, tables.table_path(options.checkpoint_path, NAME)), RecentClicks(options.memory_mb) as recent:
        stream = HotStream(spark, path, recent, dt.timedelta(days=options.keep_snapshot_days))
        say(f"reads {path}, writes PostgreSQL")

        def advance(_: Stop) -> bool:
            stream.advance()
            return True

        try:
            repeat(spark, advance, Limits(options.run_minutes, options.interval_minutes * 60, options.until_caught_up))
        finally:
            say(f"this run: read {stream.read:,} clicks")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
