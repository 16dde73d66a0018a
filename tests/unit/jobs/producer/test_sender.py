"""The sender without a broker: what it notes as acknowledged, and when."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from jobs.errors import JobError, NonRetryableError
from jobs.event import event_id
from jobs.kafka_topic import Declared
from jobs.producer import sender as sender_module
from jobs.producer.log_files import LogFile
from jobs.producer.progress import Progress, bounds
from jobs.producer.sender import Sender
from jobs.producer.topics import Topic, progress_topic

TOPIC = "t"
DAY = dt.date(2020, 10, 1)


class Report:
    """A message as librdkafka reports it: the partition is the line's first digit."""

    def __init__(self, value: bytes, offset: int) -> None:
        self._value, self._offset = value, offset

    def partition(self) -> int:
        """Where it is."""
        return int(self._value[:1])

    def offset(self) -> int:
        """The offset, as a broker reports it."""
        return self._offset

    def value(self) -> bytes:
        """The line that was sent."""
        return self._value


class Librdkafka:
    """Takes lines, and reports those of the partitions that answer, in order."""

    def __init__(self) -> None:
        self.answering = {0, 1, 2}
        self.refusing: set[bytes] = set()
        self.taken: list[tuple[bytes, Callable[..., None]]] = []
        self.notes: list[dict[str, Any]] = []
        self.offsets = dict.fromkeys(range(3), 100)
        self.most = 0
        self.longest = 1000

    def produce(self, topic: str, value: bytes, *_: object, on_delivery: Callable[..., None], **__: object) -> None:
        """Take a line; a note arrives at once."""
        if len(value) > self.longest:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if topic == progress_topic(TOPIC):
            self.notes.append(json.loads(value))
            on_delivery(None, Report(b"0", 0))
        else:
            self.taken.append((value, on_delivery))
            self.most = max(self.most, len(self.taken))

    def poll(self, seconds: float) -> int:
        """Report what can be."""
        waiting, self.taken = self.taken, []
        for value, delivered in waiting:
            partition = int(value[:1])
            if partition not in self.answering:
                self.taken.append((value, delivered))
            elif value in self.refusing:
                delivered(KafkaError(KafkaError._MSG_TIMED_OUT), Report(value, -1001))
            else:
                delivered(None, Report(value, self.offsets[partition]))
                self.offsets[partition] += 1
        return int(seconds)

    flush = poll

    def purge(self) -> None:
        """Nothing is left."""


class Journal:
    """Knows of no file."""

    def progress(self, file: LogFile, shift_ms: int) -> Progress:
        """The progress of a file of which no line was sent."""
        return Progress(file, shift_ms, "id")

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def librdkafka(monkeypatch: pytest.MonkeyPatch) -> Librdkafka:
    """What stands for it."""

    class Admin:
        def close(self) -> None:
            """Nothing to close."""

    fake = Librdkafka()
    monkeypatch.setattr(sender_module, "connected", lambda *_: Admin())
    monkeypatch.setattr(sender_module, "ensure_topics", lambda *_: Topic("id", 1000))
    monkeypatch.setattr(sender_module, "Journal", lambda *_, **__: Journal())
    monkeypatch.setattr(sender_module, "_producer", lambda *_: fake)
    monkeypatch.setattr(sender_module, "NOTE_SECONDS", 0.0)
    return fake


def lines(numbers: range, partition: int) -> list[bytes]:
    """Lines of one partition."""
    return [b"%d %d" % (partition, number) for number in numbers]


def test_only_what_is_acknowledged_without_a_gap_is_noted(librdkafka: Librdkafka) -> None:
    first, second, third = lines(range(3), 0), lines(range(3), 1), lines(range(3), 2)
    with Sender("b", TOPIC, Declared()) as sender:
        sender.resume(LogFile(Path("x"), (DAY,)), 0)
        librdkafka.answering = {0, 2}
        for block in (first, second, third):
            sender.send(block, 0)
        assert (sender.sent, sender.acknowledged) == (9, 6)
        assert [note["lines"] for note in librdkafka.notes] == [3]
        librdkafka.answering = {0, 1, 2}
        sender.finish(1)
    note = librdkafka.notes[-1]
    text = b"".join(line + b"\n" for line in [*first, *second, *third])
    assert (note["lines"], note["sha256"]) == (9, hashlib.sha256(text).hexdigest())
    assert note["ends"] == {str(number): [100, 102, event_id(b"%d 2" % number, 0)] for number in range(3)}


def test_files_follow_each_other_without_a_pause_and_each_is_noted_to_its_end(librdkafka: Librdkafka) -> None:
    librdkafka.answering = set()
    with Sender("b", TOPIC, Declared()) as sender:
        for number in range(3):
            sender.resume(LogFile(Path(f"{number}.json"), (DAY,)), 0)
            sender.send(lines(range(number + 1), number), 0)
        assert librdkafka.notes == []
        librdkafka.answering = {0, 1, 2}
        sender.finish(1)
    assert [note["lines"] for note in librdkafka.notes] == [1, 2, 3]
    assert [set(note["ends"]) for note in librdkafka.notes] == [{"0"}, {"1"}, {"2"}]


def test_a_line_that_is_lost_ends_the_run_and_what_came_before_is_noted(librdkafka: Librdkafka) -> None:
    librdkafka.refusing = {b"1 1"}
    with Sender("b", TOPIC, Declared()) as sender:
        sender.resume(LogFile(Path("x"), (DAY,)), 0)
        sender.send(lines(range(3), 0), 0)
        with pytest.raises(JobError, match=r"1 of 6 lines were not acknowledged by Kafka \(_MSG_TIMED_OUT"):
            sender.send(lines(range(3), 1), 0)
        with pytest.raises(JobError, match="1 of 6 lines"):
            sender.send(lines(range(3), 2), 0)
    assert [note["lines"] for note in librdkafka.notes] == [3]


def test_a_line_too_long_for_kafka_is_named_and_the_file_is_noted_to_its_end(
    librdkafka: Librdkafka, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = lines(range(3), 0), lines(range(3), 1)
    with Sender("b", TOPIC, Declared()) as sender:
        sender.resume(LogFile(Path("x.json"), (DAY,)), 0)
        sender.send([*first, b"0" * 2000, *last], 0)
        sender.end_file(99)
        with pytest.raises(
            NonRetryableError, match=r"1 lines are longer than Kafka accepts.* others were: 1 of x\.json"
        ):
            sender.finish(1)
    said = capsys.readouterr().out
    assert (
        "warning: line 4 of x.json, blank ones not counted, is longer than Kafka accepts, 1000 bytes; it begins b'0"
        in said
    )
    assert "sent 7 lines of 1 days, acknowledged 6, failed 1\n" in said
    note = librdkafka.notes[-1]
    assert [note[name] for name in ("lines", "too_long", "file_end", "file")] == [7, 1, 99, "x.json"]


def test_a_file_that_was_sent_to_its_end_before_is_noted_so_without_a_new_line(librdkafka: Librdkafka) -> None:
    with Sender("b", TOPIC, Declared()) as sender:
        for number in range(2):
            sender.resume(LogFile(Path(f"{number}.json"), (DAY,)), 0)
            sender.end_file(number)
        sender.finish(1)
    assert [(note["file"], note["lines"], note["file_end"]) for note in librdkafka.notes] == [
        ("0.json", 0, 0),
        ("1.json", 0, 1),
    ]


def test_no_more_lines_wait_than_a_killed_run_may_send_again(
    librdkafka: Librdkafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "MAX_WAITING", 3000)
    librdkafka.answering = {1}
    polls = 0

    def poll(seconds: float) -> int:
        nonlocal polls
        polls += 1
        if polls > 20:
            librdkafka.answering = {0}
        return Librdkafka.poll(librdkafka, seconds)

    monkeypatch.setattr(librdkafka, "poll", poll)
    with Sender("b", TOPIC, Declared()) as sender:
        sender.send(lines(range(10_000), 0), 0)
        sender.finish(1)
    assert librdkafka.most == 3000
    assert sender.acknowledged == 10_000


def test_a_broker_that_has_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int | tuple[int, int]] = [KafkaError.NOT_LEADER_FOR_PARTITION, (3, 5)]

    class Consumer:
        def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
            """The next answer."""
            if isinstance(answer := answers.pop(0), int):
                raise KafkaException(KafkaError(answer))
            return answer

    monkeypatch.setattr("time.sleep", lambda _: None)
    consumer: Any = Consumer()
    assert bounds(consumer, TopicPartition("t", 0)) == (3, 5)
    answers[:] = [KafkaError.TOPIC_AUTHORIZATION_FAILED, (3, 5)]
    with pytest.raises(KafkaException):
        bounds(consumer, TopicPartition("t", 0))
