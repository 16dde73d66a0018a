"""What the tests of the producer share: its command line, and what is in a topic."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

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
    return False


def ends(kafka: str, topic: str) -> dict[int, int]:
    """A topic's end offsets; by a connection of its own, which no killed broker leaves open."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return {place.partition: end for place, end in consumer.end_offsets(partitions).items()}
    finally:
        consumer.close()


def stored(kafka: str, topic: str) -> int:
    """How many records a topic has had."""
    return sum(ends(kafka, topic).values())


def records_of(kafka: str, topic: str) -> list[Any]:
    """All records of a topic, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        left = sum(consumer.end_offsets(partitions).values()) - sum(consumer.beginning_offsets(partitions).values())
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while len(found) < left and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                found += records
                deadline = time.monotonic() + 30
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()
