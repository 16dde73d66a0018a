"""What the tests of the producer share: its command line, and what is in a topic."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from jobs.producer.progress import bounds
from stack.settings import REPOSITORY

DAY = "2020-10-01"
NEXT_DAY = "2020-10-02"


def lines_of(log: Path) -> list[bytes]:
    """All lines of a folder of log files."""
    return [line for path in sorted(log.glob("*.json")) for line in path.read_bytes().split(b"\n") if line.strip()]


def command(mode: str, kafka: str, log: Path, topic: str, *options: str) -> list[str]:
    """The command line of both days, as the container's entry point has it."""
    common = [f"--kafka-brokers={kafka}", f"--ingestion-path={log}", f"--topic={topic}"]
    days = [f"--first-date={DAY}", f"--last-date={NEXT_DAY}"]
    return [sys.executable, "-m", "jobs.producer", mode, *common, *days, *options]


@contextmanager
def producing(kafka: str, log: Path, topic: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A producer of both days at once; it does not outlive the test."""
    words = command("batch", kafka, log, topic, *options)
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def wait_for_more(kafka: str, topic: str, before: int, run: subprocess.Popen[str], limit: float) -> bool:
    """Wait until the topic holds more than before; False when the producer ended first."""
    deadline = time.monotonic() + limit
    while run.poll() is None:
        if stored(kafka, topic) > before:
            return True
        assert time.monotonic() < deadline, f"nothing more in Kafka after {limit} s"
        time.sleep(0.02)
    return False


def ends(kafka: str, topic: str) -> dict[int, int]:
    """A topic's end offsets; by a connection of its own, which no killed broker leaves open."""
    with consumer(kafka) as ours:
        return {partition.partition: bounds(ours, partition)[1] for partition in partitions_of(ours, topic)}


def consumer(kafka: str) -> Consumer:
    """By librdkafka: kafka-python takes a tenth of a second to connect, and has zstd in a package of its own."""
    settings = {"bootstrap.servers": kafka, "group.id": "tests", "enable.auto.commit": False}
    return Consumer({**settings, "auto.offset.reset": "earliest"})


def partitions_of(ours: Consumer, topic: str) -> list[TopicPartition]:
    """None of a topic that is not there."""
    return [TopicPartition(topic, number) for number in ours.list_topics(topic, 30).topics[topic].partitions]


def stored(kafka: str, topic: str) -> int:
    """How many records a topic has had."""
    return sum(ends(kafka, topic).values())


@dataclass(frozen=True)
class Record:
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int


def records_of(kafka: str, topic: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    with consumer(kafka) as ours:
        partitions = partitions_of(ours, topic)
        left = sum(end - begin for begin, end in (bounds(ours, partition) for partition in partitions))
        # Without a place the group's one is asked for, which a broker that has just started does not know yet.
        ours.assign([TopicPartition(topic, partition.partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Record] = []
        deadline = time.monotonic() + 30
        while len(found) < left and time.monotonic() < deadline:
            for message in ours.consume(10_000, 0.5):
                assert not message.error(), message.error()
                found.append(_record(message))
                deadline = time.monotonic() + 30
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _record(message: Message) -> Record:
    headers: Any = message.headers() or []
    place = (message.partition() or 0, message.offset() or 0)
    return Record(*place, message.key(), message.value() or b"", headers, message.timestamp()[1])
