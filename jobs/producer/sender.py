"""The Kafka side: every line acknowledged or counted as failed, and a record of how far each file is."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from kafka.errors import KafkaError as AdminError

from jobs import cli
from jobs.console import say
from jobs.errors import JobError, NonRetryableError
from jobs.event import SHIFT_HEADER
from jobs.kafka_security import PLAINTEXT, Security
from jobs.kafka_topic import Declared, Tools
from jobs.producer.log_files import LogFile, session_keys
from jobs.producer.progress import READ_SECONDS, Block, Journal, Progress
from jobs.producer.topics import connected, ensure_topics, progress_topic, reason

DELIVERY_SECONDS = 120  # of retries: enough for a broker to restart
CLOSE_SECONDS = 10  # after an error or a signal
# Lines sent but not yet recorded as acknowledged: the most that a killed run sends again.
MAX_WAITING = 30_000
MAX_WAITING_BYTES = 64 * 1024 * 1024  # what a slow broker may fill of this machine's memory
NAMED_LINES = 20  # of those that are too long, at most
BLOCK_LINES = 1000  # taken, and counted as acknowledged, together
NOTE_LINES, NOTE_SECONDS = 2000, 1.0  # progress is recorded after this many lines or seconds
POLL_SECONDS = 0.2  # after which a signal is handled
PRECISE_SECONDS = 0.003  # librdkafka counts in milliseconds

SETTINGS = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # as Kafka's Java clients and kafka-python have it
    "compression.type": "zstd",
    "queue.buffering.max.messages": 2 * MAX_WAITING,
    "queue.buffering.max.kbytes": 4 * MAX_WAITING_BYTES // 1024,
    "reconnect.backoff.max.ms": 2000,  # librdkafka's own 10 seconds would outlast a broker's restart
    "log_level": 0,  # the errors contain what librdkafka logs
}


class Sender:
    """An open connection to Kafka, idempotent and acknowledged by all in-sync replicas.

    `sent`, `acknowledged` and `too_long` count the lines of this run, `already` those that an earlier run sent. Use it
    as a context manager: leaving it flushes.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        declared: Declared,
        security: Security = PLAINTEXT,
        *,
        again: bool = False,
        catch_up: bool = False,
    ) -> None:
        """Connect and prepare the topics; raises JobError when no broker answers or the topics cannot be used.

        With `again`, what earlier runs sent is sent once more; with `catch_up`, not even what Kafka has dropped since.
        """
        self.topic = topic
        self.sent = self.too_long = self.already = 0
        self._line = 0  # of the file at hand
        self._left_out: Counter[str] = Counter()  # lines too long for Kafka, by the file's name
        self._stored = self._safe = 0  # of `sent`: acknowledged without a gap, and recorded where required
        self._blocks: deque[Block] = deque()
        self._waiting_bytes = 0
        self._progress: Progress | None = None  # of the lines that are sent now
        self._reached: Progress | None = None  # of the last ones that are acknowledged
        self._noting, self._noted_at = 0, 0.0
        self._failures: list[str] = []
        self._why_not_noted = ""
        self._finished = False
        admin = connected(brokers, security)
        try:
            found = ensure_topics(admin, topic, declared, Tools(brokers, security))
            self._longest = found.longest
            self._journal = Journal(brokers, topic, found.id, security, again=again, catch_up=catch_up)
            self._producer = _producer(brokers, topic, security, found.longest)
        except (AdminError, KafkaException) as error:
            raise JobError(f"Kafka at {brokers} denies writing to {topic}: {reason(error)}") from error
        finally:
            admin.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give lines in flight a chance, even after an error or a signal, then print how far it got."""
        if kind is not None and not self._finished:
            with suppress(JobError):  # must not hide the error or the signal that led here
                self.flush(CLOSE_SECONDS)
            say(f"ends early: sent {self.sent} lines, acknowledged {self.acknowledged}")
        self._journal.close()
        self._producer.purge()  # nothing is left of a run that ends well
        self._producer.flush(CLOSE_SECONDS)

    @property
    def acknowledged(self) -> int:
        """How many lines all in-sync replicas have."""
        return self._stored + sum(block.acknowledged for block in self._blocks)

    def resume(self, file: LogFile, shift_ms: int) -> int:
        """Begin a file; returns how many of its first lines an earlier run sent and Kafka still has.

        Raises JobError when Kafka does not answer, LogFileError when the file is broken.
        """
        self._progress = None
        try:
            self._progress = self._journal.progress(file, shift_ms)
        except KafkaException as error:
            raise JobError(
                f"Kafka does not return how far {file.path.name} was sent ({reason(error)}): see that the broker runs, "
                "then run the task again"
            ) from error
        self._line = self._progress.lines
        self.already += self._line
        if self._progress.too_long:
            self._left_out[file.path.name] += self._progress.too_long
        return self._line

    def given(self, shift_ms: int) -> set[tuple[str, dt.date, int]]:
        """Complete days that earlier runs sent: a file's stem, a day, the file's size."""
        return self._journal.given(shift_ms)

    def end_file(self, size: int) -> None:
        """All lines of the current file, which has this size in bytes, were sent."""
        self._blocks.append(Block(self._progress, self._failures, size))

    def send(self, lines: Sequence[bytes], shift_ms: int) -> None:
        """Send these lines unchanged, each keyed by its SessionId, with the replay's shift as a header.

        Raises JobError as soon as an earlier line was lost: later ones would be lost as well.
        """
        for begin in range(0, len(lines), BLOCK_LINES):
            self._make_room()
            with cli.signals_deferred():
                self._queue(lines[begin : begin + BLOCK_LINES], shift_ms)
            self._serve(self._producer.poll, 0)

    def wait(self, seconds: float) -> None:
        """Handle acknowledgements for so many seconds; raises JobError when a line was lost."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > PRECISE_SECONDS:
            self._serve(self._producer.poll, left - PRECISE_SECONDS / 2)
        time.sleep(max(0.0, left))

    def flush(self, limit: float = DELIVERY_SECONDS) -> None:
        """Wait until every line is acknowledged, and note how far the file is; raises JobError when one is not."""
        deadline = time.monotonic() + limit
        self._serve(self._producer.flush, 0, note_after=1)
        while self._blocks or self._noting:
            if time.monotonic() > deadline:
                self._failures.append(f"no answer for {limit:g} s")
            self._serve(self._producer.flush, POLL_SECONDS, note_after=1)

    def finish(self, days: int) -> None:
        """Flush and print the totals; raises JobError when a line was not stored."""
        self.flush()
        self._finished = True
        before = f"; {self.already} were already sent" if self.already else ""
        say(f"sent {self.sent} lines of {days} days, acknowledged {self.acknowledged}, failed {self.too_long}{before}")
        if self._left_out:
            files = ", ".join(f"{count} of {name}" for name, count in self._left_out.items())
            raise NonRetryableError(
                f"{self._left_out.total()} lines are longer than Kafka accepts and were not stored, the others were: "
                f"{files}; look for a missing line end in the log"
            )

    def _make_room(self) -> None:
        self._check()
        while (
            self.sent - self.too_long - self._safe > MAX_WAITING - BLOCK_LINES
            or self._waiting_bytes > MAX_WAITING_BYTES
        ):
            self._serve(self._producer.poll, POLL_SECONDS)

    def _queue(self, lines: Sequence[bytes], shift_ms: int) -> None:
        """Give librdkafka the lines as one block, except those that are too long."""
        block = Block(self._progress, self._failures)
        produce, topic, delivered = self._producer.produce, self.topic, block.delivered
        headers: list[tuple[str, str | bytes | None]] = [(SHIFT_HEADER, str(shift_ms).encode("ascii"))]
        taken = 0
        records = zip(lines, session_keys(lines), strict=True)
        while taken < len(lines):
            try:
                for line, key in records:
                    produce(topic, line, key, headers=headers, on_delivery=delivered)
                    taken += 1
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    self._failures.append(reason(error))
                    break
                self._leave_out(lines[taken], self._line + taken + 1)
                taken += 1
                block.too_long += 1
        block.close(lines[:taken])
        self._blocks.append(block)
        self.sent += taken
        self._line += taken
        self._waiting_bytes += len(block.text)

    def _leave_out(self, line: bytes, number: int) -> None:
        """Count it and go on: a retry would not help, and the lines after it are valid."""
        self.too_long += 1
        name = self._progress.file.path.name if self._progress else "the log"
        self._left_out[name] += 1
        if self.too_long <= NAMED_LINES:
            say(
                f"warning: line {number} of {name}, blank ones not counted, is longer than Kafka accepts, "
                f"{self._longest} bytes; it begins {line[:60]!r}"
            )

    def _serve(self, poll: Callable[[float], int], seconds: float, note_after: int = NOTE_LINES) -> None:
        """Handle acknowledgements; raises JobError when a line was refused."""
        with cli.signals_deferred():
            poll(min(seconds, POLL_SECONDS))
            if not self._failures:
                self._collect(note_after)
        self._check()

    def _check(self) -> None:
        if self._failures:
            raise self._loss()
        if self._why_not_noted:
            raise JobError(
                f"{self.acknowledged} lines so far are in Kafka, but not how far that is ({self._why_not_noted}): see "
                f"that topic {progress_topic(self.topic)} can be written, then run the task again; nothing counts twice"
            )

    def _collect(self, note_after: int) -> None:
        """Count the blocks that Kafka has, up to the first that it lacks, and record the files' progress."""
        while self._blocks and self._blocks[0].complete:
            block = self._blocks.popleft()
            if self._reached is not block.progress:
                self._note(1)
                self._reached = block.progress
            self._stored += block.acknowledged
            self._waiting_bytes -= len(block.text)
            if block.progress:
                block.progress.add(block)
        self._note(note_after if time.monotonic() - self._noted_at < NOTE_SECONDS else 1)

    def _note(self, after: int) -> None:
        """Record in Kafka how far the file is, if it has advanced by at least so many lines."""
        progress, stored = self._reached, self._stored
        if not progress:
            self._safe = stored
        elif progress.unnoted >= after:
            progress.unnoted, self._noted_at = 0, time.monotonic()
            self._noting += 1
            topic, key = progress_topic(self.topic), progress.key.encode()
            self._producer.produce(topic, progress.value(), key, on_delivery=partial(self._noted, stored))

    def _noted(self, stored: int, error: KafkaError | None, _: Message) -> None:
        self._noting -= 1
        if error:
            self._why_not_noted = reason(error)
        else:
            self._safe = max(self._safe, stored)

    def _loss(self) -> JobError:
        lost = self.sent - self.acknowledged - self.too_long
        fix = "see that the broker runs"
        if "MSG_SIZE_TOO_LARGE" in self._failures[0]:  # never returned by a topic whose settings we may read
            fix = f"let this user read the settings of {self.topic} (DescribeConfigs)"
        return JobError(
            f"{lost} of {self.sent} lines were not acknowledged by Kafka ({self._failures[0]}): {fix}, then run the "
            "task again; lines that arrived already count once"
        )


def _producer(brokers: str, topic: str, security: Security, longest: int) -> Producer:
    limit = DELIVERY_SECONDS * 1000
    limits = {"delivery.timeout.ms": limit, "request.timeout.ms": min(30_000, limit) - 1000}
    limits["message.max.bytes"] = longest  # of a line and its key; so no batch exceeds what the topic accepts
    producer = Producer({"bootstrap.servers": brokers, **SETTINGS, **limits, **security.librdkafka})
    # librdkafka asks for its producer id when a broker of the cluster is connected, or else half a second later, and
    # what is due waits. The first answer comes from the address that it was given, the second from such a broker.
    for _ in range(2):
        producer.list_topics(topic, READ_SECONDS)
    return producer
