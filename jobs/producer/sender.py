"""The Kafka side: every line acknowledged or counted as failed, and a record of how far each file is."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from jobs.cli import JobError, say
from jobs.event import SHIFT_HEADER
from jobs.kafka_security import PLAINTEXT, Security
from jobs.producer.log_files import LogFile, record_of
from jobs.producer.progress import Journal, Progress
from jobs.producer.topics import connected, ensure_topics, progress_topic, reason

DELIVERY_SECONDS = 120  # of retries, which is time for a broker to restart
CLOSE_SECONDS = 10  # after an error or a signal
# Lines sent between two looks at what was acknowledged: the most that a killed run sends again. kafka-python 3 has no
# buffer.memory, so it is also what keeps a slow broker from filling this machine's memory.
MAX_WAITING = 1000
RECONNECT_MS = 2000  # between two tries at most; kafka-python's own 30 seconds would outlast a broker's restart


class Sender:
    """An open connection to Kafka, idempotent and acknowledged by all replicas.

    `sent`, `acknowledged` and `too_long` count the lines of this run, `already` those that an earlier run sent. Use it
    as a context manager: leaving it flushes.
    """

    def __init__(
        self, brokers: str, topic: str, replication: int, security: Security = PLAINTEXT, *, again: bool = False
    ) -> None:
        """Connect and see to the topics; raises JobError when no broker answers or the topics cannot be used.

        With `again`, what earlier runs sent is sent once more.
        """
        self.topic = topic
        self.sent = self.acknowledged = self.too_long = self.already = 0
        self._waiting: list[tuple[Any, bytes]] = []
        self._progress: Progress | None = None
        self._noted = 0
        self._why = ""
        self._finished = False
        admin = connected(brokers, security)
        try:
            topic_id = ensure_topics(admin, topic, replication)
            self._journal = Journal(brokers, topic, topic_id, security, again=again)
            self._producer = KafkaProducer(
                bootstrap_servers=brokers.split(","),
                acks="all",
                enable_idempotence=True,
                linger_ms=20,
                batch_size=128 * 1024,
                compression_type="gzip",
                max_block_ms=DELIVERY_SECONDS * 1000,
                delivery_timeout_ms=DELIVERY_SECONDS * 1000,
                request_timeout_ms=min(30, DELIVERY_SECONDS) * 1000 - 1000,
                reconnect_backoff_max_ms=RECONNECT_MS,
                **security.python,
            )
        except KafkaError as error:
            raise JobError(f"Kafka at {brokers} does not let us send to {topic}: {reason(error)}") from error
        finally:
            admin.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give what is under way its chance, also after an error or a signal, and then say how far it came."""
        if kind is not None and not self._finished:
            with suppress(JobError):  # must not hide the error or the signal that led here
                self.flush(CLOSE_SECONDS)
            say(f"ends early: sent {self.sent} lines, acknowledged {self.acknowledged}")
        self._journal.close()
        try:
            self._producer.close(timeout=0 if self._why else CLOSE_SECONDS)
        except KafkaError:
            self._give_up()

    def resume(self, file: LogFile, shift_ms: int) -> int:
        """Begin a file: how many of its lines, from the first one on, an earlier run sent and Kafka still holds.

        Raises JobError when a line before it was lost or Kafka does not answer, LogFileError when the file is broken.
        """
        self.flush()
        self._progress = None
        try:
            self._progress = self._journal.progress(file, shift_ms)
        except KafkaError as error:
            raise JobError(
                f"Kafka does not say how far {file.path.name} was sent ({reason(error)}): see that the broker runs, "
                "then run the task again"
            ) from error
        self._noted = self._progress.lines
        self.already += self._progress.lines
        return self._progress.lines

    def send(self, line: bytes, shift_ms: int, record: dict[str, Any] | None = None) -> None:
        """Send one line as it is, keyed by its SessionId, with the shift of its replay as a header.

        Raises JobError as soon as a line before it was lost: what comes after would be lost as well.
        """
        if len(self._waiting) >= MAX_WAITING:
            self.flush()
        session = (record_of(line) if record is None else record).get("SessionId")
        key = session.encode("utf-8", "replace") if isinstance(session, str) and session else None
        headers = [(SHIFT_HEADER, str(shift_ms).encode("ascii"))]
        self.sent += 1
        try:
            self._waiting.append((self._producer.send(self.topic, value=line, key=key, headers=headers), line))
        except MessageSizeTooLargeError:  # waiting or trying again would not help, and the lines after it are good
            self.too_long += 1
            say(f"warning: line {self.sent} has {len(line)} bytes, more than Kafka takes; it begins {line[:60]!r}")
            self.flush()
            self._progress = None  # the next run comes to this line again, and is red until it is mended
        except KafkaError as error:
            self._why = self._why or reason(error)
            raise self._loss() from error

    def flush(self, limit: float = DELIVERY_SECONDS) -> None:
        """Wait until every line is acknowledged, and note how far the file is; raises JobError when one is not."""
        try:
            self._producer.flush(timeout=limit)
        except KafkaError as error:
            self._why = self._why or reason(error)
        self._collect()
        if self._why:
            raise self._loss()
        self._note(limit)

    def finish(self, days: int) -> None:
        """Flush and say the sums; raises JobError when a line was not stored."""
        self.flush()
        self._finished = True
        before = f"; {self.already} were already sent" if self.already else ""
        say(f"sent {self.sent} lines of {days} days, acknowledged {self.acknowledged}, failed {self.too_long}{before}")
        if self.too_long:
            raise JobError(
                f"{self.too_long} of {self.sent} lines are longer than Kafka takes and were not stored, the others "
                "were: look for a missing line end in the log"
            )

    def _give_up(self) -> None:
        # While lines wait, close() of kafka-python 3 raises instead of closing, and once more, to stderr, when the
        # producer is collected. It has no public way to drop them.
        self._producer._sender.force_close()
        with suppress(KafkaError):
            self._producer.close(timeout=CLOSE_SECONDS)

    def _collect(self) -> None:
        """Count what was acknowledged. Here and not in callbacks: those come from another thread."""
        acknowledged, progress = self.acknowledged, copy(self._progress)
        for future, line in self._waiting:
            try:
                stored = future.get(timeout=0 if self._why else 5)
            except KafkaError as error:
                self._why = self._why or reason(error)
            else:
                acknowledged += 1
                if progress and not self._why:
                    progress.add(line, stored.partition, stored.offset)
        # All or nothing: a signal that ends the run may come at any of the lines above.
        self.acknowledged, self._progress, self._waiting = acknowledged, progress, []

    def _note(self, limit: float) -> None:
        """Keep how far the file is, after the acknowledgements that it tells of."""
        progress = self._progress
        if not progress or progress.lines == self._noted:
            return
        try:
            note = self._producer.send(progress_topic(self.topic), key=progress.key.encode(), value=progress.value())
            self._producer.flush(timeout=limit)
            note.get(timeout=0)
        except KafkaError as error:
            raise JobError(
                f"all {self.sent} lines so far are in Kafka, but not how far that is ({reason(error)}): see that topic "
                f"{progress_topic(self.topic)} can be written, then run the task again; nothing counts twice"
            ) from error
        self._noted = progress.lines

    def _loss(self) -> JobError:
        lost = self.sent - self.acknowledged - self.too_long
        return JobError(
            f"{lost} of {self.sent} lines were not acknowledged by Kafka ({self._why}): see that the broker runs, "
            "then run the task again; lines that arrived already count once"
        )
