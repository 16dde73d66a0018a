"""All Kafka records not archived yet → raw archive: unchanged, each (topic, partition, offset) once."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs import kafka_security
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.event import TOPIC
from jobs.spark import tables
from jobs.spark.delta_log import batches, commits
from jobs.spark.kafka_lineage import offsets_told
from jobs.spark.kafka_records import records
from jobs.spark.kafka_required import require_broker, require_same_topic, require_topic
from jobs.spark.one_writer import one_writer
from jobs.spark.overlap import Overlap
from jobs.spark.session import session
from jobs.spark.streaming import Limits, run_rounds
from jobs.spark.upkeep import compact
from jobs.spark.writer import append_once, missing, stream_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NAME = "archive_raw"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog=NAME, description=__doc__)
    result.add_argument("--kafka-brokers", required=True, help="host:port, separated by commas")
    result.add_argument("--kafka-security-path", default="", help="folder of client.properties; empty: plaintext")
    result.add_argument("--archive-path", required=True, help="root folder of the raw archive")
    result.add_argument("--checkpoint-path", required=True, help="root folder of the checkpoints")
    result.add_argument("--topic", default=TOPIC)
    archive = Data("lake", tables.table_path("{archive-path}", tables.ARCHIVE))
    flow(result, reads=[Data("topic", "{topic}")], writes=[archive])
    return result


def rows(records: DataFrame) -> DataFrame:
    """Records as rows of the archive."""
    from pyspark.sql import functions as F

    return records.withColumn("archive_date", F.to_date("kafka_ts")).select(*tables.ARCHIVE_COLUMNS)


@dataclass
class ArchiveWriter:
    """Appends micro-batches of records, and counts those of this run."""

    path: str
    read: int = field(default=0, init=False)
    written: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.overlap = Overlap(self.path)

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        """Append what is not there yet."""
        started = time.monotonic()
        spark, stream = batch.sparkSession, stream_of(batch)
        if batch_id <= batches(spark, self.path).get(stream, -1):
            say(f"batch {batch_id}: is already archived")
            return
        append = self._append_absent if self.overlap.is_possible(spark, stream) else self._append_all
        read, written = append(rows(batch), batch_id)
        self.read, self.written = self.read + read, self.written + written
        say(f"batch {batch_id}: read {read:,}, archived {written:,}, took {time.monotonic() - started:.1f} s")

    def _append_all(self, new: DataFrame, batch_id: int) -> tuple[int, int]:
        append_once(new, self.path, batch_id)
        count = next(commits(new.sparkSession, self.path)).rows
        return count, count

    def _append_absent(self, new: DataFrame, batch_id: int) -> tuple[int, int]:
        from pyspark import StorageLevel

        new = new.persist(StorageLevel.DISK_ONLY)
        try:
            read = new.count()
            absent = missing(new, self.path)
            written = absent.count()
            append_once(absent, self.path, batch_id, written)
        finally:
            new.unpersist()
        return read, written


def run(options: argparse.Namespace) -> None:
    """Read all that is there, write it."""
    security = kafka_security.read(options.kafka_security_path)
    require_broker(options.kafka_brokers)
    spark = session(NAME)
    path = tables.table_path(options.archive_path, tables.ARCHIVE)
    checkpoint = tables.table_path(options.checkpoint_path, NAME)
    writer = ArchiveWriter(path)
    with one_writer(spark, path):
        topic_id = require_topic(spark, options.kafka_brokers, options.topic, security)
        require_same_topic(spark, options.topic, topic_id, checkpoint)
        say(f"reads {options.topic} of {options.kafka_brokers}, writes {path}")
        stream = records(spark, options.kafka_brokers, options.topic, security)
        with offsets_told(spark, options.kafka_brokers, options.topic, checkpoint):
            run_rounds(stream, writer, checkpoint, Limits(), writer.overlap.note_end)
        if writer.written:
            compact(spark, path)
    say(f"this run: read {writer.read:,}, archived {writer.written:,}")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
