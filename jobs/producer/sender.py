"""The Kafka side: the topic as the contract declares it, and every line acknowledged or counted as failed."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from jobs.cli import JobError, say
from jobs.event import PARTITIONS, RETENTION_DAYS, SHIFT_HEADER
from jobs.producer.log_files import record_of

CONNECT_SECONDS = 15
DELIVERY_SECONDS = 120  # of retries, which is time for a broker to restart
CLOSE_SECONDS = 10  # after an error or a signal
# kafka-python 3 has no buffer.memory: without a limit of our own, a slow broker would fill this machine's memory.
MAX_WAITING = 10_000


class Sender:
    """An open connection to Kafka, idempotent and acknowledged by all replicas.

    `sent`, `acknowledged` and `too_long` count lines. Use it as a context manager: leaving it flushes.
    """

    def __init__(self, brokers: str, topic: str, replication: int) -> None:
        """Connect and see to the topic; raises JobError when no broker answers or the topic cannot be made."""
        self.topic = topic
        self.sent = self.acknowledged = self.too_long = 0
        self._waiting: deque[Any] = deque()
        self._why = ""
        self._finished = False
        admin = _connected(brokers)
        try:
            ensure_topic(admin, topic, replication)
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
            )
        except KafkaError as error:
            raise JobError(f"Kafka at {brokers} does not let us send to {topic}: {_reason(error)}") from error
        finally:
            admin.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give what is under way its chance, also after an error or a signal, and then say how far it came."""
        try:
            self._producer.close(timeout=DELIVERY_SECONDS if kind is None else CLOSE_SECONDS)
        except KafkaError as failure:  # must not hide the error or the signal that led here
            self._why = self._why or _reason(failure)
            self._give_up()
        if kind is not None and not self._finished:
            self._collect()
            say(f"ends early: sent {self.sent} lines, acknowledged {self.acknowledged}")

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
            self._waiting.append(self._producer.send(self.topic, value=line, key=key, headers=headers))
        except MessageSizeTooLargeError:  # waiting or trying again would not help, and the lines after it are good
            self.too_long += 1
            say(f"warning: line {self.sent} has {len(line)} bytes, more than Kafka takes; it begins {line[:60]!r}")
        except KafkaError as error:
            self._why = self._why or _reason(error)
            raise self._loss() from error

    def flush(self) -> None:
        """Wait until every line is acknowledged; raises JobError when one is not."""
        try:
            self._producer.flush(timeout=DELIVERY_SECONDS)
        except KafkaError as error:
            self._why = self._why or _reason(error)
        self._collect()
        if self._why:
            raise self._loss()

    def finish(self, days: int) -> None:
        """Flush and say the sums; raises JobError when a line was not stored."""
        self.flush()
        self._finished = True
        say(f"sent {self.sent} lines of {days} days, acknowledged {self.acknowledged}, failed {self.too_long}")
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
        while self._waiting:
            try:
                self._waiting.popleft().get(timeout=0 if self._why else 5)
                self.acknowledged += 1
            except KafkaError as error:
                self._why = self._why or _reason(error)

    def _loss(self) -> JobError:
        lost = self.sent - self.acknowledged - self.too_long
        return JobError(
            f"{lost} of {self.sent} lines were not acknowledged by Kafka ({self._why}): see that the broker runs, "
            "then run the task again; lines that arrived already count once"
        )


def ensure_topic(admin: KafkaAdminClient, topic: str, replication: int) -> None:
    """Create the topic as the contract declares it, or say how the one that is there differs."""
    found = admin.describe_topics([topic])[0]
    if found["error_code"] == UnknownTopicOrPartitionError.errno:
        options = {
            "num_partitions": PARTITIONS,
            "replication_factor": replication,
            "configs": {"retention.ms": str(RETENTION_DAYS * 24 * 3600 * 1000)},
        }
        try:
            admin.create_topics({topic: options}, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # another producer was faster
            admin.wait_for_topics([topic])
        else:
            say(f"created topic {topic} with {PARTITIONS} partitions, kept for {RETENTION_DAYS} days")
        return
    if len(found["partitions"]) != PARTITIONS:
        say(f"warning: topic {topic} has {len(found['partitions'])} partitions, the contract declares {PARTITIONS}")
    copies = min((len(partition["replica_nodes"]) for partition in found["partitions"]), default=replication)
    if copies < replication:
        say(f"warning: topic {topic} has {copies} replicas, --replication asks for {replication}")


def _connected(brokers: str) -> KafkaAdminClient:
    """A connected admin client; kafka-python gives up at the first refusal, a broker that starts needs some seconds."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return KafkaAdminClient(bootstrap_servers=brokers.split(","), bootstrap_timeout_ms=5000)
        except (KafkaError, OSError, ValueError) as error:
            if isinstance(error, ValueError) or time.monotonic() > deadline:
                raise JobError(
                    f"no Kafka broker answers at {brokers} ({_reason(error)}): is KAFKA_BROKERS right (host:port, "
                    "commas between), and does the broker run?"
                ) from error
            time.sleep(1)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
