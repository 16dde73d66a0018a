"""Curated stream → four hot tables of PostgreSQL, a micro-batch every few minutes; ends after --run-minutes."""

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.cli import Data, JobError, flow, main, positive_float, positive_int, say, true_or_false
from jobs.spark import tables

if TYPE_CHECKING:
    import psycopg
    from pyspark.sql import DataFrame

    from jobs.spark.hot_tables import State

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
    result.add_argument("--checkpoint-path", required=True, help="root folder of the checkpoints")
    result.add_argument("--run-minutes", type=positive_float, default=60.0)
    result.add_argument("--interval-minutes", type=_interval, default=5.0, help="from one micro-batch to the next")
    result.add_argument("--until-caught-up", type=true_or_false, default=False, help="end when all is read")
    keep = "keep snapshots for so many days of event time; minutes and anomalies are kept for good"
    result.add_argument("--keep-snapshot-days", type=positive_int, default=7, help=keep)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", tables.CLICKS))],
        writes=[Data("postgresql", name) for name in tables.HOT_MARTS],
    )
    return result


@dataclass
class HotWriter:
    """Writes the hot tables for micro-batches of curated clicks (session_id, event_ts), and counts those of this run.

    A batch says which minutes and sessions are touched; their numbers come from the whole curated stream.
    """

    clicks_path: str
    keep: dt.timedelta
    read: int = field(default=0, init=False)

    def __call__(self, batch: "DataFrame", batch_id: int) -> None:
        """Write what the batch touches, in one transaction with its id; one that is in already changes nothing."""
        from jobs.spark.hot_tables import state_of
        from jobs.spark.postgres import connect

        # Of the checkpoint: one that was deleted begins again with batch 0, and with another id.
        stream = batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or ""
        with connect() as connection:
            state = state_of(connection, stream)
            if state.last_batch is not None and batch_id <= state.last_batch:
                say(f"batch {batch_id}: is in PostgreSQL already")
                return
            batch.persist()
            try:
                self._write(connection, stream, state, batch, batch_id)
            finally:
                batch.unpersist()

    def _write(
        self, connection: "psycopg.Connection[Any]", stream: str, state: "State", batch: "DataFrame", batch_id: int
    ) -> None:
        from jobs.spark import hot_marts, hot_tables
        from jobs.spark.clicks import once

        started = time.monotonic()
        count, newest_ms = _size(batch)
        if not count:
            return
        newest_ms = max(newest_ms, state.newest_ms)
        snapshot = hot_marts.snapshot_of(newest_ms)
        horizon = snapshot - hot_marts.HORIZON
        late = batch.where(batch.event_ts < horizon).count()
        curated = batch.sparkSession.read.format("delta").load(self.clicks_path)
        recent = once(curated.where(hot_marts.between(horizon, snapshot))).persist()
        try:
            # A stream that PostgreSQL does not know (a new checkpoint, a new database): all of the horizon is due.
            touched = None if state.last_batch is None else batch
            marts = hot_marts.compute(recent, touched, snapshot)
            written = hot_tables.write(connection, hot_tables.Batch(stream, batch_id, newest_ms), marts, self.keep)
        finally:
            recent.unpersist()
        self.read += count
        left = f" ({late:,} of them older than 48 h: left to the cold marts)" if late else ""
        behind = dt.timedelta(seconds=max(0, round(time.time() - newest_ms / 1000)))
        say(
            f"batch {batch_id}: read {count:,} clicks{left}, {written}, snapshot {snapshot:%Y-%m-%d %H:%M}, "
            f"newest click {behind} old, took {time.monotonic() - started:.1f} s"
        )


def _size(batch: "DataFrame") -> tuple[int, int]:
    """Clicks of the batch, and their newest event_ts (epoch ms; 0 without any)."""
    from pyspark.sql import functions as F

    row = batch.agg(F.count("*"), F.max(F.unix_millis("event_ts"))).collect()[0]
    return int(row[0]), int(row[1] or 0)


def run(options: argparse.Namespace) -> None:
    """Read the curated stream from its beginning or where the last run ended, in rounds."""
    from jobs.spark.migrations import migrate
    from jobs.spark.postgres import connect
    from jobs.spark.session import session
    from jobs.spark.streaming import Limits, run_rounds
    from jobs.spark.writer import is_table, one_writer

    with connect() as connection:  # before Spark starts: what is wrong with it is said at once
        migrate(connection)
    spark = session(NAME)
    path = tables.table_path(options.curated_path, tables.CLICKS)
    if not is_table(spark, path):
        raise JobError(f"there is no curated stream in {path}: run tripclick_streaming_curated first")
    checkpoint = tables.table_path(options.checkpoint_path, NAME)
    writer = HotWriter(path, dt.timedelta(days=options.keep_snapshot_days))
    with one_writer(spark, checkpoint):
        say(f"reads {path}, writes PostgreSQL")
        stream = spark.readStream.format("delta").load(path).select("session_id", "event_ts")
        limits = Limits(options.run_minutes, options.interval_minutes * 60, options.until_caught_up)
        try:
            run_rounds(stream, writer, checkpoint, limits)
        finally:
            say(f"this run: read {writer.read:,} clicks")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
