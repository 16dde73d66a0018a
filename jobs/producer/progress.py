"""How far each log file is acknowledged: stored in Kafka beside the clicks, and trusted only while they are there."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from jobs.console import say
from jobs.days import days_between, spans_text
from jobs.event import SHIFT_HEADER, event_id
from jobs.kafka_security import PLAINTEXT, Security
from jobs.producer.log_files import LogFile
from jobs.producer.topics import progress_topic, reason

READ_SECONDS = 30
# Errors of a broker that has just started, does not know a new topic yet, or is going while another takes over.
CHANGING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._DESTROY_BROKER,
    KafkaError._TRANSPORT,
)


class Block:
    """Consecutive lines, which count as acknowledged once Kafka has all of them that it accepts.

    `first` and `last` hold the reports of their ends in each partition; a partition keeps the order of its lines.
    `file_end` is the file's size if these are its last lines, `too_long` counts those that Kafka does not
    take.
    """

    def __init__(self, progress: Progress | None, failures: list[str], file_end: int | None = None) -> None:
        """No line yet of this progress's file; `failures` collects why Kafka lacks a line."""
        self.progress, self._failures, self.file_end = progress, failures, file_end
        self.text, self.count, self.acknowledged, self.too_long = b"", 0, 0, 0
        self.first: dict[int, Message] = {}
        self.last: dict[int, Message] = {}

    def close(self, lines: Sequence[bytes]) -> None:
        """Set the lines, after they are sent and before any delivery report is handled."""
        self.text = b"\n".join([*lines, b""])
        self.count = len(lines)

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Handle librdkafka's delivery report of one line."""
        if error is not None:
            self._failures.append(reason(error))
            return
        self.acknowledged += 1
        partition = message.partition() or 0
        self.first.setdefault(partition, message)
        self.last[partition] = message

    @property
    def complete(self) -> bool:
        """Whether Kafka has acknowledged every line that it accepts."""
        return self.acknowledged + self.too_long == self.count


class Progress:
    """The acknowledged lines of one file with one shift, from the first line on, without a gap.

    `lines` counts them, `too_long` those that Kafka does not have, and `unnoted` those
    not recorded in Kafka yet. `digest` is their SHA-256, and `ends` says where Kafka holds them: partition → offset of
    the first one, offset of the last one, event_id of the last one. `file_end`: they are all lines of the file, which
    had so many bytes.
    """

    def __init__(self, file: LogFile, shift_ms: int, topic_id: str) -> None:
        """Begin with no line acknowledged."""
        self.file, self.shift_ms, self.topic_id = file, shift_ms, topic_id
        self.key = f"{file.stem}, {spans_text([(file.days[0], file.days[-1])])}, {shift_ms} ms"
        self.lines = self.too_long = self.unnoted = 0
        self.file_end: int | None = None
        self.digest = hashlib.sha256()
        self.ends: dict[int, tuple[int, int, str]] = {}

    def add(self, block: Block) -> None:
        """Add the next lines, with their offsets if the broker reports them: not for lines that it already had."""
        self.lines += block.count
        self.too_long += block.too_long
        self.unnoted += block.count
        if block.file_end != self.file_end and block.file_end is not None:
            self.file_end, self.unnoted = block.file_end, self.unnoted + 1
        self.digest.update(block.text)
        for partition, last in block.last.items():
            if (end := _offset(last)) >= 0:
                first = _offset(block.first[partition])
                begin = self.ends[partition][0] if partition in self.ends else first if first >= 0 else end
                self.ends[partition] = (begin, end, event_id(last.value() or b"", self.shift_ms))

    def value(self) -> bytes:
        """The progress as the JSON that is stored in Kafka."""
        names = {
            "file": self.file.stem,
            "days": [str(self.file.days[0]), str(self.file.days[-1])],
            "shift_ms": self.shift_ms,
            "topic_id": self.topic_id,
            "lines": self.lines,
            "too_long": self.too_long,
            "sha256": self.digest.hexdigest(),
            "ends": self.ends,
            "file_end": self.file_end,
        }
        return json.dumps(names).encode()

    def take_over(self, kept: dict[str, Any], file: LogFile) -> bool:
        """Continue from stored progress; False if the file does not begin with the lines that were sent."""
        for _, lines in file.blocks():
            block = Block(self, [])
            block.close(lines[: kept["lines"] - self.lines])
            self.add(block)
            if self.lines == kept["lines"]:
                break
        self.unnoted = 0
        self.too_long, self.file_end = kept.get("too_long", 0), kept.get("file_end")
        self.ends = {int(partition): tuple(end) for partition, end in kept["ends"].items()}
        return (self.lines, self.digest.hexdigest()) == (kept["lines"], kept["sha256"])


class Journal:
    """The progress topic: one record per file and shift, of which the newest counts."""

    def __init__(
        self,
        brokers: str,
        topic: str,
        topic_id: str,
        security: Security = PLAINTEXT,
        *,
        again: bool = False,
        catch_up: bool = False,
    ) -> None:
        """Read the progress of all files, or with `again` ignore it; raises KafkaException.

        With `catch_up`, what Kafka has dropped since by its retention is not sent again.
        """
        self._topic, self._topic_id, self._catch_up = topic, topic_id, catch_up
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "tripclick-producer",  # required but unused: nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
                **security.librdkafka,
            }
        )
        partition = TopicPartition(progress_topic(topic), 0)
        records = () if again else self._records(partition, *bounds(self._consumer, partition))
        self._kept = {record.key(): record.value() for record in records}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def given(self, shift_ms: int) -> set[tuple[str, dt.date, int]]:
        """Complete days that Kafka was given, even if it has dropped them: a file's stem, a day, the file's size."""
        notes = [_note(value) for value in self._kept.values()]
        return {
            (note["file"], day, note["file_end"])
            for note in notes
            if note.get("file_end") is not None and (note["topic_id"], note["shift_ms"]) == (self._topic_id, shift_ms)
            for day in days_between(*map(dt.date.fromisoformat, note["days"]))
        }

    def progress(self, file: LogFile, shift_ms: int) -> Progress:
        """Where an earlier run left this file, or its beginning; warns if the stored progress is no longer valid.

        Raises KafkaException, and LogFileError when the file cannot be read as far as it was sent.
        """
        new = Progress(file, shift_ms, self._topic_id)
        if not (kept := _note(self._kept.get(new.key.encode()))):
            return new
        found = Progress(file, shift_ms, self._topic_id)
        wrong = self._recreated(kept) or ("" if self._catch_up else self._dropped(kept))
        if not wrong and not found.take_over(kept, file):
            wrong = "the file is not the one that was sent"
        if wrong:
            say(
                f"warning: {file.path.name}: {kept['lines']} lines were acknowledged, but {wrong}: sends them all again"
            )
            return new
        say(f"{file.path.name}: its first {found.lines} lines were already sent and acknowledged: continues after them")
        return found

    def _recreated(self, kept: dict[str, Any]) -> str:
        return "" if kept["topic_id"] == self._topic_id else f"topic {self._topic} was recreated since"

    def _dropped(self, kept: dict[str, Any]) -> str:
        """Why Kafka no longer has these lines, or nothing."""
        for number, (first, last, identity) in kept["ends"].items():
            partition = TopicPartition(self._topic, int(number))
            begin, end = bounds(self._consumer, partition)
            where = f"partition {number} of topic {self._topic}"
            if begin > first:
                return f"{where} now begins at offset {begin}, but they begin at {first}"
            if last >= end or all(_identity(record) != identity for record in self._records(partition, last, last + 1)):
                return f"{where} lost what it had at offset {last}"
        return ""

    def _records(self, partition: TopicPartition, begin: int, end: int) -> Iterator[Message]:
        """The records of these offsets, `end` excluded; a compacted topic lacks some."""
        self._consumer.assign([TopicPartition(partition.topic, partition.partition, begin)])
        deadline = time.monotonic() + READ_SECONDS
        reached = begin
        while reached < end:
            if time.monotonic() > deadline:
                words = f"no answer of partition {partition.partition} of {partition.topic}"
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, words))
            for record in self._consumer.consume(min(1000, end - reached), timeout=0.5):
                deadline = time.monotonic() + READ_SECONDS
                if (error := record.error()) and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                reached = end if error else _offset(record) + 1
                if not error and reached <= end:
                    yield record


def bounds(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The offsets of a partition's first record and of its next one."""
    deadline = time.monotonic() + READ_SECONDS
    while True:
        try:
            return consumer.get_watermark_offsets(partition, timeout=READ_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in CHANGING or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _note(value: bytes | None) -> dict[str, Any]:
    """What a record of the progress topic says; empty if no producer of ours wrote it."""
    try:
        note = json.loads(value or b"{}")
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) and "topic_id" in note else {}


def _offset(record: Message) -> int:
    """The record's offset; below 0 if unknown."""
    offset = record.offset()
    return -1 if offset is None else offset


def _identity(record: Message) -> str:
    """The event_id of a click in Kafka; empty for a record that this producer did not write."""
    shift = dict(record.headers() or ()).get(SHIFT_HEADER) or b"0"
    try:
        return event_id(record.value() or b"", int(shift))
    except ValueError:
        return ""
