"""The topics as the environment declares them: created if missing, raised to that if they exist."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError as AdminError
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from jobs.console import say
from jobs.errors import JobError, NonRetryableError
from jobs.event import PARTITIONS
from jobs.kafka_security import PLAINTEXT, Security, refusal
from jobs.kafka_topic import DAY_MS, Declared, Tools, lacking, pairs
from jobs.producer.log_files import MAX_LINE_BYTES

CONNECT_SECONDS = 15
RECORD_BYTES = 1024  # of a record beyond its line and key, at most
_DEFAULT_BATCH_BYTES = str(1024 * 1024 + 12)  # of a broker whose topic's settings this user may not read


@dataclass(frozen=True)
class Topic:
    """The clicks topic: its id, which changes when it is recreated, and the longest line it accepts, in bytes."""

    id: str
    longest: int


def progress_topic(topic: str) -> str:
    """The topic that records how far each log file is acknowledged in `topic`."""
    return f"{topic}.progress"


def ensure_topics(admin: KafkaAdminClient, topic: str, declared: Declared, tools: Tools) -> Topic:
    """Create or adjust both topics.

    Weaker settings than declared are raised, and printed. NonRetryableError with Kafka's own command for what a person
    must do: give more replicas, or what this user may not set.
    """
    wanted = {topic: (PARTITIONS, declared.clicks), progress_topic(topic): (1, declared.progress)}
    there = {name: found for name in wanted if (found := _found(admin, name))}
    refused = [
        problem
        for name, found in there.items()
        for problem in _see_to(admin, name, found, wanted[name], declared, tools)
    ]
    if refused:
        raise NonRetryableError("; ".join(refused))
    for name in (name for name in wanted if name not in there):
        _create(admin, name, *wanted[name], declared.replication)
    most = int(_settings(admin, topic).get("max.message.bytes", _DEFAULT_BATCH_BYTES))
    clicks = there.get(topic) or _found(admin, topic)
    return Topic(str(clicks["topic_id"]), max(RECORD_BYTES, min(MAX_LINE_BYTES, most - RECORD_BYTES)))


def connected(brokers: str, security: Security = PLAINTEXT) -> KafkaAdminClient:
    """A connected admin client; kafka-python gives up at the first refusal, a starting broker needs some seconds."""
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
                    f"no Kafka broker answers at {brokers} ({reason(error)}): is --kafka-brokers right (host:port, "
                    f"commas between), and does the broker run? {security.fix}"
                ) from error
            time.sleep(1)


def reason(error: Exception | KafkaError) -> str:
    """The kind of an error and its text."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(cause, KafkaError):
        return f"{cause.name()}: {cause.str()}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _see_to(
    admin: KafkaAdminClient,
    topic: str,
    found: dict[str, Any],
    wanted: tuple[int, dict[str, str]],
    declared: Declared,
    tools: Tools,
) -> Iterator[str]:
    """Bring a topic to what is declared; yields what a person must do, with the command."""
    partitions, settings = wanted
    yield from _missing_replicas(admin, topic, found, declared.replication, tools)
    yield from _weak_settings(admin, topic, settings, tools)
    if (there := len(found["partitions"])) != partitions:  # a session stays in order with any number of them
        say(f"warning: topic {topic} has {there} partitions, the contract declares {partitions}")


def _found(admin: KafkaAdminClient, topic: str) -> dict[str, Any]:
    """Kafka's description of a topic; empty if there is none."""
    found: dict[str, Any] = admin.describe_topics([topic])[0]
    return {} if found["error_code"] == UnknownTopicOrPartitionError.errno else found


def _create(admin: KafkaAdminClient, topic: str, partitions: int, settings: dict[str, str], replication: int) -> None:
    options = {"num_partitions": partitions, "replication_factor": replication, "configs": settings}
    try:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another producer was faster
        admin.wait_for_topics([topic])
    say(f"created topic {topic}: {partitions} partitions, {replication} replicas, {pairs(settings)}")


def _missing_replicas(
    admin: KafkaAdminClient, topic: str, found: dict[str, Any], declared: int, tools: Tools
) -> Iterator[str]:
    replicas = {each["partition_index"]: each["replica_nodes"] for each in found["partitions"]}
    if (fewest := min(map(len, replicas.values()))) < declared:
        nodes = sorted(broker["broker_id"] for broker in admin.describe_cluster()["brokers"])
        way_out = tools.replicate(topic, replicas, nodes, declared)
        yield f"topic {topic} has {fewest} replicas, --replication declares {declared}: {way_out}"


def _weak_settings(admin: KafkaAdminClient, topic: str, declared: Mapping[str, str], tools: Tools) -> Iterator[str]:
    has = _settings(admin, topic)
    less = lacking(has, declared)
    if "compact" in has.get("cleanup.policy", "") and declared["cleanup.policy"] == "delete":
        yield f"topic {topic} is compacted and would keep one click of each session: {tools.set(topic, less)}"
    elif less:
        before = pairs({name: has[name] for name in less})
        answers = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, less)])
        if (answer := answers["topic"][topic]) != "OK":
            yield f"topic {topic} has {before}, and this user may not change that ({answer}): {tools.set(topic, less)}"
        else:
            say(f"topic {topic} had {before}: set {pairs(less)}")
    _warn_of_others(topic, has, declared)


def _settings(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    """The settings of a topic; empty where this user may not read them."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    described = admin.describe_configs([resource], config_filter="all").get("topic", {}).get(topic, {})
    return {name: config["value"] for name, config in described.items()}


def _warn_of_others(topic: str, has: Mapping[str, str], declared: Mapping[str, str]) -> None:
    """Warnings about settings stronger than declared, or not declared."""
    days = int(has.get("retention.ms", 0)) / DAY_MS
    if "retention.ms" in declared and not 0 <= days <= int(declared["retention.ms"]) / DAY_MS:
        kept = "forever" if days < 0 else f"for {days:g} days"
        say(f"warning: topic {topic} keeps records {kept}, --retention-days declares less")
    if (most := has.get("retention.bytes", "-1")) != "-1":
        say(f"warning: topic {topic} keeps at most {most} bytes per partition, but no such limit is declared")
