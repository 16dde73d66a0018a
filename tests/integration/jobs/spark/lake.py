"""A topic, and what the jobs write from it into a folder."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from jobs.event import PARTITIONS, SHIFT_HEADER
from jobs.kafka_topic import Declared
from jobs.spark.archive_raw import ArchiveWriter
from jobs.spark.kafka_records import records
from jobs.spark.streaming import Limits, run_rounds
from jobs.spark.streaming_curated import CuratedWriter

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

BROKEN = b'{"DateCreated": "/Date(13'


def line(number: int) -> bytes:
    """A valid click."""
    click = {
        "DateCreated": f"/Date({1357004977650 + number})/",
        "SessionId": f"s{number:023}",
        "DocumentId": number + 1,
    }
    return json.dumps(click).encode()


class Lake:
    """One topic, and the folders that the jobs write from it."""

    def __init__(self, spark: SparkSession, brokers: str, root: Path) -> None:
        self.spark, self.brokers, self.root = spark, brokers, root
        self.topic = f"test.{uuid.uuid4().hex}"
        admin = KafkaAdminClient(bootstrap_servers=brokers)
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1, topic_configs=Declared().clicks)])
        admin.close()

    def send(self, values: Sequence[bytes], timestamp_ms: int | None = None) -> None:
        """One record a value, to the partitions in turn."""
        producer = KafkaProducer(bootstrap_servers=self.brokers, acks="all")
        for number, value in enumerate(values):
            place = {"partition": number % PARTITIONS, "timestamp_ms": timestamp_ms}
            producer.send(self.topic, value, key=b"k", headers=[(SHIFT_HEADER, b"604800000")], **place)
        producer.flush()
        producer.close()

    def run(
        self, write: Callable[[DataFrame, int], None], checkpoint: str = "ck", minutes: float | None = None
    ) -> None:
        """One round of a stream."""
        self.read(records(self.spark, self.brokers, self.topic), write, checkpoint, minutes)

    def read(
        self,
        stream: DataFrame,
        write: Callable[[DataFrame, int], None],
        checkpoint: str,
        minutes: float | None = None,
    ) -> None:
        """One round of a stream of whatever source."""
        note_end = write.overlap.note_end if isinstance(write, (CuratedWriter, ArchiveWriter)) else lambda: None
        run_rounds(stream, write, str(self.root / checkpoint), Limits(run_minutes=minutes), note_end)

    def curated(self, max_bad_share: float = 1.0) -> CuratedWriter:
        return CuratedWriter(str(self.root / "clicks"), str(self.root / "quarantine"), max_bad_share)

    def archive(self) -> ArchiveWriter:
        return ArchiveWriter(str(self.root / "archive"))

    def rows(self, table: str) -> list[Row]:
        return self.spark.read.format("delta").load(str(self.root / table)).orderBy("partition", "offset").collect()
