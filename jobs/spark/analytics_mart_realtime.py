"""Curated stream → four hot tables of PostgreSQL, a micro-batch every few minutes; ends after --run-minutes."""

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.cli import JobError, main, positive_float, say, true_or_false
from jobs.spark import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from pyspark.sql import DataFrame

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
    return result


@dataclass
class HotWriter:
    """Writes the hot tables for each micro-batch of curated clicks, in one transaction with the batch's id."""

    clicks_path: str
    read: int = field(default=0, init=False)

    def __call__(self, batch: "DataFrame", batch_id: int) -> None:
        """Compute what the batch touches, from the whole curated stream; one that is in already changes nothing."""
        from jobs.spark.postgres import connect

        started = time.monotonic()
        # Of the checkpoint: one that was deleted starts anew with batch 0, and with another id.
        query_id = batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or ""
        with connect() as connection:
            last_id, newest_before = _state(connection, query_id)
            if batch_id <= last_id:
                say(f"batch {batch_id}: is in PostgreSQL already")
                return
            count, newest, minutes = _touched(batch)
            newest = max(newest, newest_before)
            if not count:
                return
            written = self._write(connection, batch, newest, minutes)
            _remember(connection, query_id, batch_id, newest)
        self.read += count
        behind = dt.timedelta(seconds=max(0, round(time.time() - newest / 1000)))
        say(
            f"batch {batch_id}: read {count:,}, {written}, newest click {behind} old, {time.monotonic() - started:.1f} s"
        )

    def _write(self, connection: "psycopg.Connection[Any]", batch: "DataFrame", newest: int, minutes: list[int]) -> str:
        from pyspark.sql import functions as F

        from jobs.spark import hot_marts as hot
        from jobs.spark.cold_marts import once

        snapshot = hot.snapshot_of(newest)
        curated = batch.sparkSession.read.format("delta").load(self.clicks_path)
        recent = once(curated.where(hot.between(snapshot - hot.HORIZON, snapshot))).persist()
        try:
            wanted = [minute for minute in minutes if minute >= (snapshot - hot.HORIZON).timestamp()]
            touched = recent.where(hot.minute_of(F.col("event_ts")).isin(wanted)) if wanted else recent.limit(0)
            traffic = [(_utc(row[0]), *row[1:]) for row in hot.traffic_minute(touched).collect()]
            top = [(snapshot, *row) for row in hot.top_docs_1h(recent, snapshot).collect()]
            trend = [(snapshot, *row) for row in hot.clinical_trend_24h(recent, snapshot).collect()]
            sessions = recent.join(batch.select("session_id").distinct(), on="session_id", how="left_semi")
            found = hot.anomaly_sessions(sessions).collect()
            anomalies = [(*row[:2], _utc(row[2] / 1000), _utc(row[3] / 1000), *row[4:]) for row in found]
        finally:
            recent.unpersist()
        _store(connection, traffic, top, trend, anomalies)
        return f"wrote {len(traffic)} minutes, snapshot {snapshot:%Y-%m-%d %H:%M}, {len(anomalies)} anomalies"


def _state(connection: "psycopg.Connection[Any]", query_id: str) -> tuple[int, int]:
    """Id of the last batch of this stream that is in, and the newest event_ts (epoch ms) of all until then."""
    row = connection.execute(
        "SELECT max(batch_id) FILTER (WHERE query_id = %s), (extract(epoch FROM max(max_event_ts)) * 1000)::bigint "
        "FROM mart_realtime_batches",
        (query_id,),
    ).fetchone()
    last_id, newest = row or (None, None)
    return (-1 if last_id is None else int(last_id), int(newest or 0))


def _remember(connection: "psycopg.Connection[Any]", query_id: str, batch_id: int, newest: int) -> None:
    connection.execute(
        "INSERT INTO mart_realtime_batches (query_id, batch_id, max_event_ts) VALUES (%s, %s, %s) "
        "ON CONFLICT (query_id) DO UPDATE SET batch_id = excluded.batch_id, "
        "max_event_ts = excluded.max_event_ts, updated_at = now()",
        (query_id, batch_id, _utc(newest / 1000)),
    )


def _touched(batch: "DataFrame") -> tuple[int, int, list[int]]:
    """Clicks of the batch, its newest event_ts (epoch ms), and the minutes (epoch seconds) it has clicks in."""
    from pyspark.sql import functions as F

    from jobs.spark.hot_marts import minute_of

    row = batch.agg(
        F.count("*"), F.max(F.unix_millis("event_ts")), F.collect_set(minute_of(F.col("event_ts")))
    ).collect()[0]
    return int(row[0]), int(row[1] or 0), [int(minute) for minute in row[2]]


def _store(
    connection: "psycopg.Connection[Any]",
    traffic: "Sequence[Sequence[Any]]",
    top: "Sequence[Sequence[Any]]",
    trend: "Sequence[Sequence[Any]]",
    anomalies: "Sequence[Sequence[Any]]",
) -> None:
    from jobs.spark.postgres import insert_rows

    columns = ["event_minute", "total_clicks", "unique_sessions", "unique_docs"]
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    upsert = f"ON CONFLICT (event_minute) DO UPDATE SET {changes}, updated_at = now()"
    insert_rows(connection, "mart_realtime_traffic_minute", columns, traffic, upsert)
    # A snapshot is written whole: one of the same minute by an earlier batch makes way.
    for table, columns, rows in (
        (
            "mart_realtime_top_docs_1h",
            ["snapshot_ts", "rank", "document_id", "title", "click_count", "unique_sessions"],
            top,
        ),
        (
            "mart_realtime_clinical_trend_24h",
            ["snapshot_ts", "clinical_area", "click_count", "unique_sessions", "trend_pct"],
            trend,
        ),
    ):
        for snapshot in {row[0] for row in rows}:
            connection.execute(f"DELETE FROM {table} WHERE snapshot_ts = %s".encode(), (snapshot,))
        insert_rows(connection, table, columns, rows)
    columns = ["session_id", "rule_id", "window_start", "window_end", "click_count", "severity"]
    insert_rows(connection, "mart_realtime_anomaly_sessions", columns, anomalies, "ON CONFLICT DO NOTHING")


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def run(options: argparse.Namespace) -> None:
    """Read the curated stream from its beginning or where the last run ended, in rounds."""
    from jobs.spark.postgres import connect
    from jobs.spark.session import session
    from jobs.spark.streaming import Limits, run_rounds
    from jobs.spark.writer import is_table, one_writer

    connect().close()  # before Spark starts: what is wrong with it is said at once
    spark = session(NAME)
    path = tables.table_path(options.curated_path, tables.CLICKS)
    if not is_table(spark, path):
        raise JobError(f"there is no curated stream in {path}: run tripclick_streaming_curated first")
    checkpoint = tables.table_path(options.checkpoint_path, NAME)
    writer = HotWriter(path)
    with one_writer(spark, checkpoint):
        say(f"reads {path}, writes PostgreSQL")
        stream = spark.readStream.format("delta").load(path)
        limits = Limits(options.run_minutes, options.interval_minutes * 60, options.until_caught_up)
        run_rounds(stream, writer, checkpoint, limits)
    say(f"this run: read {writer.read:,} clicks")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
