"""Curated stream → four hot tables of PostgreSQL, a micro-batch every few minutes; ends after --run-minutes."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jobs.arguments import positive_float, positive_int, true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.errors import JobError
from jobs.spark import hot_marts, hot_tables, tables
from jobs.spark.delta_log import is_table, newest
from jobs.spark.hot_marts import HORIZON
from jobs.spark.hot_tables import state_of
from jobs.spark.migrations import migrate
from jobs.spark.moments import micros
from jobs.spark.one_writer import fence, one_writer
from jobs.spark.postgres import connect
from jobs.spark.recent_clicks import MEMORY_MB, RecentClicks
from jobs.spark.session import session
from jobs.spark.streaming import Limits, repeat

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.spark.hot_source import Arrival
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


class Seen(NamedTuple):
    """What this run has read of the curated stream: the table's id, its version, and the clock at that version."""

    table: str
    version: int
    clock: dt.datetime


@dataclass
class HotStream:
    """Follows the table of curated clicks, and keeps those since the horizon in `recent`.

    A batch is what the table gained since the last one; a run's first is everything since the horizon. Its number is
    the table's version, so that one that runs again, however the last run died, is the same batch.
    """

    spark: SparkSession
    path: str
    recent: RecentClicks
    keep: dt.timedelta
    seen: Seen | None = field(default=None, init=False)
    read: int = field(default=0, init=False)

    def advance(self) -> None:
        """Bring the hot tables to the newest version of the curated table."""
        from jobs.spark.hot_source import changes

        now = newest(self.spark, self.path)
        table, version = now.table_id, now.version
        if not self.seen or self.seen.table != table:
            self._start(table, version)
        elif version > self.seen.version:
            arrival = changes(self.spark, self.path, self.seen.version + 1, version)
            if arrival.is_append:
                self._batch(arrival, Seen(table, version, max(self.seen.clock, arrival.newest or self.seen.clock)))
            else:
                say("clicks were removed from the curated stream")
                self._start(table, version)

    def _start(self, table: str, version: int) -> None:
        """Begin at the horizon, unless PostgreSQL has this version of the table."""
        from jobs.spark.hot_source import everything

        with connect() as connection:
            known = state_of(connection, table)
        if known and version <= known.version:
            say(f"batch {version}: is in PostgreSQL already")
            return
        self.seen = None
        self.recent.clear()
        arrival = everything(self.spark, self.path, known.clock - HORIZON if known else None)
        if known and (not arrival.newest or arrival.newest < known.clock):  # what moved the clock was removed
            arrival = everything(self.spark, self.path, None)
        if arrival.newest:
            self._batch(arrival, Seen(table, version, arrival.newest))
        else:
            say(f"batch {version}: read {arrival.count:,} clicks, none of which moves the clock")

    def _batch(self, arrival: Arrival, now: Seen) -> None:
        """Write what `arrival` affects, in one transaction with its number."""
        if not arrival.by_hour:  # the table's files were compacted
            self.seen = now
            return
        started = time.monotonic()
        snapshot = hot_marts.snapshot_of(now.clock)
        horizon = snapshot - hot_marts.HORIZON
        if not self.seen:
            say(f"starts at {horizon:%Y-%m-%d %H:%M}, 48 h before the newest click")
        count = sum(map(self.recent.add, arrival.since(horizon)))
        self.recent.drop_before(micros(horizon))
        if self.seen:  # what was dated ahead, and is due now
            self.recent.touch(micros(hot_marts.snapshot_of(self.seen.clock)), micros(snapshot))
        marts = hot_marts.compute(self.recent, snapshot)
        fence()
        with connect() as connection:
            batch = hot_tables.Batch(now.table, now.version, now.clock, is_whole=not self.seen)
            written = hot_tables.write(connection, batch, marts, self.keep)
        self.recent.clear_touched()
        late = arrival.count - count if self.seen else 0
        self.seen, self.read = now, self.read + arrival.count
        behind = dt.timedelta(seconds=max(0, round(time.time() - now.clock.timestamp())))
        say(
            f"batch {now.version}: read {arrival.count:,} clicks{_of_them(late, arrival.ahead)}, {written}, "
            f"snapshot {snapshot:%Y-%m-%d %H:%M}, newest click {behind} old, took {time.monotonic() - started:.1f} s"
        )


def _of_them(late: int, ahead: int) -> str:
    """What a batch's progress line says about clicks that are not in the tables."""
    kinds = {"older than 48 h: left to the cold marts": late, "dated ahead: kept until their time comes": ahead}
    said = "; ".join(f"{count:,} of them {kind}" for kind, count in kinds.items() if count)
    return f" ({said})" if said else ""


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
