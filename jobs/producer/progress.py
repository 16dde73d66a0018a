"""How far each log file is acknowledged: kept in Kafka beside the clicks, and believed only while they are there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from jobs.cli import say
from jobs.event import SHIFT_HEADER, event_id
from jobs.kafka_security import PLAINTEXT, Security
from jobs.producer.log_files import LogFile
from jobs.producer.topics import progress_topic

READ_SECONDS = 30


class Progress:
    """The acknowledged lines of one file in one shift, from its first one on and without a gap.

    `lines` counts them, `digest` is their SHA-256, and `ends` says where Kafka holds them: partition → offset of the
    first one, offset of the last one, event_id of the last one.
    """

    def __init__(self, file: LogFile, shift_ms: int, topic_id: str) -> None:
        """Nothing acknowledged yet."""
        days = f"{file.days[0]}" if len(file.days) == 1 else f"{file.days[0]} to {file.days[-1]}"
        self.key = f"{file.path.name}, {days}, {shift_ms} ms"
        self.shift_ms, self.topic_id = shift_ms, topic_id
        self.lines = 0
        self.digest = hashlib.sha256()
        self.ends: dict[int, tuple[int, int, str]] = {}

    def add(self, line: bytes, partition: int, offset: int) -> None:
        """The next line, and where it is; the offset is -1 when the broker only says that it had the line before."""
        self.lines += 1
        self.digest.update(line + b"\n")
        if offset >= 0:
            first = self.ends[partition][0] if partition in self.ends else offset
            self.ends[partition] = (first, offset, event_id(line, self.shift_ms))

    def __copy__(self) -> Progress:
        """Another one that goes its own way from here."""
        other = object.__new__(Progress)
        other.__dict__ = {**self.__dict__, "digest": self.digest.copy(), "ends": dict(self.ends)}
        return other

    def value(self) -> bytes:
        """What is kept in Kafka."""
        names = {"topic_id": self.topic_id, "lines": self.lines, "sha256": self.digest.hexdigest(), "ends": self.ends}
        return json.dumps(names).encode()

    def take_over(self, kept: dict[str, Any], file: LogFile) -> bool:
        """Go on where a kept one ended; False when the file does not begin with the lines that were sent."""
        for _, line in islice(file.lines(), kept["lines"]):
            self.lines += 1
            self.digest.update(line + b"\n")
        self.ends = {int(partition): tuple(end) for partition, end in kept["ends"].items()}
        return (self.lines, self.digest.hexdigest()) == (kept["lines"], kept["sha256"])


class Journal:
    """The topic that holds the progress, one record a file and shift, the newest of which counts."""

    def __init__(
        self, brokers: str, topic: str, topic_id: str, security: Security = PLAINTEXT, *, again: bool = False
    ) -> None:
        """Read the progress of all files, or with `again` forget it; raises KafkaError."""
        self._topic, self._topic_id = topic, topic_id
        self._consumer = KafkaConsumer(
            bootstrap_servers=brokers.split(","),
            enable_auto_commit=False,
            reconnect_backoff_max_ms=1000,
            **security.python,
        )
        partition = TopicPartition(progress_topic(topic), 0)
        begin, end = self._bounds([partition])[partition]
        records = () if again else self._records(partition, begin, end)
        self._kept = {record.key: record.value for record in records}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def progress(self, file: LogFile, shift_ms: int) -> Progress:
        """Where an earlier run left this file, or its beginning, said loudly when what is kept does not hold any more.

        Raises KafkaError, and LogFileError when the file cannot be read as far as it was sent.
        """
        new = Progress(file, shift_ms, self._topic_id)
        if (value := self._kept.get(new.key.encode())) is None:
            return new
        found = Progress(file, shift_ms, self._topic_id)
        kept: dict[str, Any] = json.loads(value)
        if not (wrong := self._wrong(kept)) and not found.take_over(kept, file):
            wrong = "the file is not the one that was sent"
        if wrong:
            say(f"warning: {file.path.name}: {kept['lines']} lines were acknowledged, but {wrong}: sends all again")
            return new
        say(f"{file.path.name}: its first {found.lines} lines are already sent and acknowledged, goes on after them")
        return found

    def _wrong(self, kept: dict[str, Any]) -> str:
        """Why Kafka does not hold these lines any more, or nothing."""
        if kept["topic_id"] != self._topic_id:
            return f"topic {self._topic} was made anew since"
        ends = {TopicPartition(self._topic, int(number)): end for number, end in kept["ends"].items()}
        bounds = self._bounds(list(ends))
        for partition, (first, last, identity) in ends.items():
            begin, end = bounds[partition]
            where = f"partition {partition.partition} of topic {self._topic}"
            if begin > first:
                return f"{where} now begins at offset {begin}, and they begin at {first}"
            if last >= end or all(_identity(record) != identity for record in self._records(partition, last, last + 1)):
                return f"{where} lost what it had at offset {last}"
        return ""

    def _bounds(self, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The offsets of each partition's first record and of the one to come."""
        begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        return {partition: (begins[partition], ends[partition]) for partition in partitions}

    def _records(self, partition: TopicPartition, begin: int, end: int) -> Iterator[Any]:
        """The records of these offsets, `end` not included."""
        self._consumer.assign([partition])
        self._consumer.seek(partition, begin)
        deadline = time.monotonic() + READ_SECONDS
        while self._consumer.position(partition) < end:
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no answer of partition {partition.partition} of {partition.topic}")
            for record in self._consumer.poll(timeout_ms=500).get(partition, ()):
                deadline = time.monotonic() + READ_SECONDS
                if record.offset < end:
                    yield record


def _identity(record: Any) -> str:
    """The event_id of a click in Kafka."""
    return event_id(record.value, int(dict(record.headers).get(SHIFT_HEADER, b"0")))
