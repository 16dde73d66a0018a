"""The topics as the contract declares them: made when they are missing, and compared with it when they are there."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError as AdminError
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from jobs.cli import JobError, NonRetryableError, say
from jobs.event import PARTITIONS, RETENTION_DAYS
from jobs.kafka_security import PLAINTEXT, Security, refusal

CONNECT_SECONDS = 15
_DAY_MS = 24 * 3600 * 1000
_RETENTION = {"retention.ms": str(RETENTION_DAYS * _DAY_MS)}
# Progress is worth nothing without the clicks, so it goes when they go. The open segment is never compacted.
_PROGRESS = {"cleanup.policy": "compact,delete", "segment.bytes": str(4 * 1024 * 1024), **_RETENTION}


def progress_topic(topic: str) -> str:
    """The topic that holds how far each log file is acknowledged in `topic`."""
    return f"{topic}.progress"


def ensure_topics(admin: KafkaAdminClient, topic: str, replication: int) -> str:
    """See to both topics, and the id of the one for clicks, which changes when it is recreated.

    Says how a topic that is there differs from the contract; raises JobError when clicks would not be kept in it.
    """
    found = _found(admin, topic)
    if not found:
        _create(admin, topic, PARTITIONS, replication, _RETENTION)
        say(f"created topic {topic} with {PARTITIONS} partitions, kept for {RETENTION_DAYS} days")
        found = _found(admin, topic)
    else:
        _compare(admin, topic, found, replication)
    if not _found(admin, progress_topic(topic)):
        _create(admin, progress_topic(topic), 1, _replicas(found), _PROGRESS)
    return str(found["topic_id"])


def connected(brokers: str, security: Security = PLAINTEXT) -> KafkaAdminClient:
    """A connected admin client; kafka-python gives up at the first refusal, a broker that starts needs some seconds."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            servers = brokers.split(",")
            return KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=5000, **security.python)
        except (AdminError, OSError, ValueError) as error:
            if refused := refusal(brokers, security):
                raise NonRetryableError(f"Kafka at {brokers} refused the login ({refused}): {security.fix}") from error
            if isinstance(error, ValueError) or time.monotonic() > deadline:
                raise JobError(
                    f"no Kafka broker answers at {brokers} ({reason(error)}): is KAFKA_BROKERS right (host:port, "
                    f"commas between), and does the broker run? {security.fix}"
                ) from error
            time.sleep(1)


def reason(error: Exception | KafkaError) -> str:
    """The kind of an error and its words."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(cause, KafkaError):
        return f"{cause.name()}: {cause.str()}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _found(admin: KafkaAdminClient, topic: str) -> dict[str, Any]:
    """What Kafka says of a topic; empty when there is none."""
    found: dict[str, Any] = admin.describe_topics([topic])[0]
    return {} if found["error_code"] == UnknownTopicOrPartitionError.errno else found


def _create(admin: KafkaAdminClient, topic: str, partitions: int, replication: int, configs: dict[str, str]) -> None:
    options = {"num_partitions": partitions, "replication_factor": replication, "configs": configs}
    try:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another producer was faster
        admin.wait_for_topics([topic])


def _replicas(found: dict[str, Any]) -> int:
    return min(len(partition["replica_nodes"]) for partition in found["partitions"])


def _compare(admin: KafkaAdminClient, topic: str, found: dict[str, Any], replication: int) -> None:
    """One line for each difference; a session stays in order in whatever number of partitions."""
    if (partitions := len(found["partitions"])) != PARTITIONS:
        say(f"warning: topic {topic} has {partitions} partitions, the contract declares {PARTITIONS}")
    if (copies := _replicas(found)) < replication:
        say(f"warning: topic {topic} has {copies} replicas, --replication asks for {replication}")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, ["retention.ms", "retention.bytes", "cleanup.policy"])
    described = admin.describe_configs([resource], config_filter="all").get("topic", {}).get(topic, {})
    _check_retention(topic, {name: config["value"] for name, config in described.items()})


def _check_retention(topic: str, configs: dict[str, str]) -> None:
    """`configs` is empty where this user may not read them."""
    days = int(configs.get("retention.ms", _RETENTION["retention.ms"])) / _DAY_MS
    way_out = f"set it with kafka-configs.sh --alter --topic {topic} --add-config"
    if "compact" in configs.get("cleanup.policy", ""):
        raise NonRetryableError(
            f"topic {topic} is compacted and would keep one click of each session: {way_out} cleanup.policy=delete"
        )
    if 0 <= days < RETENTION_DAYS:
        raise NonRetryableError(
            f"topic {topic} keeps records for {days:g} days, the contract declares {RETENTION_DAYS}, and clicks could "
            f"be gone before they are archived: {way_out} retention.ms={_RETENTION['retention.ms']}"
        )
    if days != RETENTION_DAYS:
        kept = "for ever" if days < 0 else f"for {days:g} days"
        say(f"warning: topic {topic} keeps records {kept}, the contract declares {RETENTION_DAYS} days")
    if (most := configs.get("retention.bytes", "-1")) != "-1":
        say(f"warning: topic {topic} keeps at most {most} bytes of a partition, the contract declares no such limit")
