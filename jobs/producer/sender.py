"""The Kafka side: the topic as the contract declares it, and every line acknowledged or counted as failed."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from jobs.cli import JobError, say
from jobs.event import PARTITIONS, RETENTION_DAYS, SHIFT_HEADER
from jobs.producer.log_files import record_of

CONNECT_SECONDS = 20
FLUSH_SECONDS = 120


class Sender:
    """An open connection to Kafka; `sent`, `acknowledged` and `failed` count lines."""

    def __init__(self, brokers: str, topic: str, replication: int) -> None:
        self.topic = topic
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self._why = ""
        try:
            ensure_topic(brokers, topic, replication)
            self._producer = KafkaProducer(
                bootstrap_servers=brokers.split(","),
                acks="all",
                enable_idempotence=True,
                linger_ms=20,
                batch_size=128 * 1024,
                compression_type="gzip",
                max_block_ms=FLUSH_SECONDS * 1000,
                delivery_timeout_ms=FLUSH_SECONDS * 1000,
            )
        except (KafkaError, OSError, ValueError) as error:
            raise JobError(
                f"no Kafka broker answers at {brokers} ({type(error).__name__}: {error}): is KAFKA_BROKERS right, and "
                "does the broker run?"
            ) from error

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give what is under way a last chance, also when the run was ended by a signal."""
        self._producer.close(timeout=FLUSH_SECONDS if kind is None else 10)

    def send(self, line: bytes, shift_ms: int, record: dict[str, Any] | None = None) -> None:
        """Send one line as it is, keyed by its SessionId, with the shift of its replay as a header."""
        session = (record_of(line) if record is None else record).get("SessionId")
        key = session.encode("utf-8", "replace") if isinstance(session, str) and session else None
        headers = [(SHIFT_HEADER, str(shift_ms).encode("ascii"))]
        try:
            future = self._producer.send(self.topic, value=line, key=key, headers=headers)
        except KafkaError as error:
            self.sent += 1
            self._refused(error)
            return
        self.sent += 1
        future.add_callback(self._accepted)
        future.add_errback(self._refused)

    def flush(self) -> None:
        """Wait until every line is acknowledged or has failed."""
        try:
            self._producer.flush(timeout=FLUSH_SECONDS)
        except KafkaError as error:
            self._why = self._why or f"{type(error).__name__}: {error}"

    def finish(self, days: int) -> None:
        """Flush and say the sums; raises JobError when a line was not acknowledged."""
        self.flush()
        missing = self.sent - self.acknowledged
        say(f"sent {self.sent} lines of {days} days, acknowledged {self.acknowledged}, failed {missing}")
        if missing:
            raise JobError(
                f"{missing} of {self.sent} lines were not acknowledged by Kafka ({self._why or 'no answer in time'}): "
                "run the task again; lines that arrived already count once"
            )

    def _accepted(self, _: Any) -> None:
        self.acknowledged += 1

    def _refused(self, error: Any) -> None:
        self.failed += 1
        self._why = self._why or f"{type(error).__name__}: {error}"


def ensure_topic(brokers: str, topic: str, replication: int) -> None:
    """Create the topic as the contract declares it, or say how the one that is there differs."""
    admin = _admin(brokers)
    try:
        retention = str(RETENTION_DAYS * 24 * 3600 * 1000)
        options = {
            "num_partitions": PARTITIONS,
            "replication_factor": replication,
            "configs": {"retention.ms": retention},
        }
        admin.create_topics({topic: options}, wait_for_metadata=True)
        say(f"created topic {topic} with {PARTITIONS} partitions")
    except TopicAlreadyExistsError:
        partitions = len(admin.describe_topics([topic])[0]["partitions"])
        if partitions != PARTITIONS:
            say(f"warning: topic {topic} has {partitions} partitions, the contract declares {PARTITIONS}")
    finally:
        admin.close()


def _admin(brokers: str) -> KafkaAdminClient:
    """A connected admin client; kafka-python gives up at the first refusal, a broker that starts needs some seconds."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return KafkaAdminClient(bootstrap_servers=brokers.split(","), bootstrap_timeout_ms=5000)
        except KafkaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
