"""Kafka → curated stream: valid clicks to the table clicks, the other records to the table quarantine.

Exactly once, by the checkpoint. Ends after --run-minutes, or as soon as it has caught up. With --from-archive it reads
the raw archive, which keeps what Kafka has dropped: to rebuild a lost curated stream.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs import kafka_security
from jobs.arguments import positive_float, share, true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.errors import NonRetryableError
from jobs.event import TOPIC
from jobs.spark import tables
from jobs.spark.delta_log import batches, is_table, next_version
from jobs.spark.kafka_lineage import offsets_told
from jobs.spark.kafka_records import archived_records, records
from jobs.spark.kafka_required import require_broker, require_same_topic, require_topic
from jobs.spark.one_writer import one_writer
from jobs.spark.overlap import Overlap
from jobs.spark.quarantine_replay import replay
from jobs.spark.session import session
from jobs.spark.streaming import Limits, run_rounds
from jobs.spark.tally import Count, Tally
from jobs.spark.upkeep import compact
from jobs.spark.writer import append_compared, append_once, missing, stream_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

    from jobs.kafka_security import Security

NAME = "streaming_curated"
MIN_BAD_RECORDS = 50  # fewer are not significant


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog=NAME, description=__doc__)
    result.add_argument("--kafka-brokers", required=True, help="host:port, separated by commas")
    result.add_argument("--kafka-security-path", default="", help="folder of client.properties; empty: plaintext")
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--checkpoint-path", required=True, help="root folder of the checkpoints")
    result.add_argument("--topic", default=TOPIC)
    result.add_argument("--archive-path", default="", help="root folder of the raw archive")
    result.add_argument("--from-archive", type=true_or_false, default=False, help="read the archive, not Kafka")
    result.add_argument(
        "--replay-quarantine", type=true_or_false, default=False, help="first check the quarantined records again"
    )
    result.add_argument("--run-minutes", type=positive_float, default=60.0)
    result.add_argument("--interval-seconds", type=positive_float, default=30.0, help="between two rounds")
    result.add_argument("--until-caught-up", type=true_or_false, default=False, help="end when all is read")
    result.add_argument(
        "--max-bad-share", type=share, default=0.05, help="fail at the end if a larger share of the records is bad"
    )
    written = [Data("lake", tables.table_path("{curated-path}", name)) for name in (tables.CLICKS, tables.QUARANTINE)]
    archive = Data("lake", tables.table_path("{archive-path}", tables.ARCHIVE))
    flow(result, reads=[Data("topic", "{topic}"), archive], writes=written)
    return result


@dataclass
class CuratedWriter:
    """Writes micro-batches of records to the two tables, and counts what this run has seen."""

    clicks_path: str
    quarantine_path: str
    max_bad_share: float = 1.0
    seen: Count = field(default=Count(), init=False)

    def __post_init__(self) -> None:
        self.overlap = Overlap(self.clicks_path, self.quarantine_path)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Check the records and append them."""
        from pyspark import StorageLevel

        from jobs.spark import events

        started = time.monotonic()
        if batch_id <= batches(batch.sparkSession, self.clicks_path).get(stream_of(batch), -1):
            say(f"batch {batch_id}: is already in {self.clicks_path}")
            return
        checked = events.check(batch).persist(StorageLevel.DISK_ONLY)  # a backlog's batch does not fit into memory
        try:
            reasons = events.summary(checked)
            count = counted(reasons)
            Tally(batch.sparkSession, self.clicks_path).note(stream_of(batch), batch_id, count)
            self.seen += count
            self._append(checked, batch_id, reasons)
        finally:
            checked.unpersist()
        say(f"batch {batch_id}: {describe(reasons)}, took {time.monotonic() - started:.1f} s")

    def _append(self, checked: DataFrame, batch_id: int, reasons: list[Row]) -> None:
        """Bad records first, then clicks; a batch without clicks is compared when it runs again."""
        from jobs.spark import events

        spark, stream = checked.sparkSession, stream_of(checked)
        # Half done: between the halves the quarantine may have been replayed, or the contract changed.
        is_half_done = batch_id <= batches(spark, self.quarantine_path).get(stream, -1)
        if is_compared := is_half_done or self.overlap.is_possible(spark, stream):
            number = next_version(spark, self.quarantine_path)
            checked = missing(checked, self.clicks_path, self.quarantine_path)
            reasons = events.summary(checked)
        bad = sum(row.records for row in reasons if row.reason)
        kept = sum(row.records for row in reasons) - bad
        if bad or not is_table(spark, self.quarantine_path):
            if is_compared:
                append_compared(events.quarantine(checked), self.quarantine_path, number, bad)
            else:
                append_once(events.quarantine(checked), self.quarantine_path, batch_id, bad)
        if kept or not is_table(spark, self.clicks_path):  # a new version without a new click would wake its readers
            append_once(events.clicks(checked), self.clicks_path, batch_id, kept)

    def refuse_a_flood(self, spark: SparkSession) -> None:
        """NonRetryableError if too many records were bad since the last successful run; all are stored by then."""
        tally = Tally(spark, self.clicks_path)
        since = tally.total()
        if since.bad >= MIN_BAD_RECORDS and since.bad > self.max_bad_share * since.read:
            raise NonRetryableError(
                f"{since.bad:,} of {since.read:,} records are bad, more than --max-bad-share {self.max_bad_share:g}, "
                f"e.g. {since.example}. Everything is stored, the bad ones in {self.quarantine_path}: check what the "
                "producer sends; every run fails until one with a higher max_bad_share has succeeded"
            )
        tally.clear()


def counted(reasons: list[Row]) -> Count:
    """A batch's records, by the rows of `events.summary`."""
    bad = [row for row in reasons if row.reason]
    example = f"{bad[-1].reason}: partition {bad[-1].first.partition} offset {bad[-1].first.offset}" if bad else ""
    return Count(sum(row.records for row in reasons), sum(row.records for row in bad), example)


def describe(reasons: list[Row]) -> str:
    """What was read, kept and quarantined, and how old the newest record is."""
    if not reasons:
        return "read 0"
    read = sum(row.records for row in reasons)
    bad = [row for row in reasons if row.reason]
    behind = time.time() - max(row.newest_s for row in reasons)
    why = f" ({', '.join(f'{row.reason} {row.records:,}' for row in bad)})" if bad else ""
    quarantined = sum(row.records for row in bad)
    return (
        f"read {read:,}, kept {read - quarantined:,}, quarantined {quarantined:,}{why}, "
        f"newest record {dt.timedelta(seconds=round(max(behind, 0)))} old"
    )


def run(options: argparse.Namespace) -> None:
    """Read, check, write, in rounds."""
    security = kafka_security.PLAINTEXT
    if not options.from_archive:
        security = kafka_security.read(options.kafka_security_path)
        require_broker(options.kafka_brokers)
    spark = session(NAME)
    clicks_path = tables.table_path(options.curated_path, tables.CLICKS)
    quarantine_path = tables.table_path(options.curated_path, tables.QUARANTINE)
    checkpoint = tables.table_path(options.checkpoint_path, f"{NAME}_from_archive" if options.from_archive else NAME)
    writer = CuratedWriter(clicks_path, quarantine_path, options.max_bad_share)
    with one_writer(spark, clicks_path):
        if options.replay_quarantine and is_table(spark, quarantine_path):
            replay(spark, clicks_path, quarantine_path)
        source, stream = _source(spark, options, security, checkpoint)
        say(f"reads {source}, writes {clicks_path}")
        limits = Limits(options.run_minutes, options.interval_seconds, options.until_caught_up)
        try:
            with offsets_told(spark, options.kafka_brokers, options.topic, checkpoint):
                run_rounds(stream, writer, checkpoint, limits, writer.overlap.note_end)
            for path in (clicks_path, quarantine_path) if writer.seen.read else ():
                compact(spark, path)
        finally:
            say(f"this run: read {writer.seen.read:,}, quarantined {writer.seen.bad:,}")
        writer.refuse_a_flood(spark)


def _source(
    spark: SparkSession, options: argparse.Namespace, security: Security, checkpoint: str
) -> tuple[str, DataFrame]:
    """The source of the records in words, and their stream."""
    if options.from_archive:
        path = tables.table_path(options.archive_path, tables.ARCHIVE)
        return path, archived_records(spark, path, options.topic)
    topic_id = require_topic(spark, options.kafka_brokers, options.topic, security)
    require_same_topic(spark, options.topic, topic_id, checkpoint)
    stream = records(spark, options.kafka_brokers, options.topic, security)
    return f"{options.topic} of {options.kafka_brokers}", stream


if __name__ == "__main__":
    sys.exit(main(parser(), run))
