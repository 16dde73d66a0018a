"""Kafka: brokers that answer, and topics with the partitions that the contract declares."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from jobs.event import PARTITIONS
from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Once, Probe
from pipeline_config.preflight.settings import Settings


@dataclass(frozen=True)
class Cluster:
    """What the brokers say: how many they are, and the partitions of each topic that there is."""

    brokers: int
    partitions: dict[str, int]


def probes(settings: Settings, variable: str, topics: list[str]) -> list[Probe]:
    """One of the brokers that `variable` names, and one of each topic."""
    cluster = Once(variable, lambda: _ask(settings.variable(variable), variable, topics))
    fix = f"start the brokers, or correct {variable}"

    def brokers() -> str:
        return f"{settings.variable(variable)}, a cluster of {cluster.own().brokers}"

    return [
        Probe(variable, brokers, fix),
        *(Probe(f"topic {topic}", partial(_topic, cluster, topic), fix) for topic in topics),
    ]


def _ask(brokers: str, variable: str, topics: list[str]) -> Cluster:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # each try of a connection would be a line
    milliseconds = ANSWER_SECONDS * 1000 // 2  # twice: to find the cluster, and to ask it
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=[broker.strip() for broker in brokers.split(",")],
            bootstrap_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds,
        )
        try:
            found = admin.describe_topics(topics)
            return Cluster(
                len(admin.describe_cluster()["brokers"]),
                {topic["name"]: len(topic["partitions"]) for topic in found if not topic["error_code"]},
            )
        finally:
            admin.close()
    except (KafkaError, OSError, ValueError) as error:
        why = f"no Kafka broker answers at {brokers} ({type(error).__name__})"
        raise Failure(why, f"start the brokers, or correct {variable}: host:port, commas between") from error


def _topic(cluster: Once[Cluster], topic: str) -> str:
    found = cluster.needed().partitions.get(topic)
    if found is None:
        raise Failure("there is no such topic", f"run a producer once: it makes the topic with {PARTITIONS} partitions")
    if found != PARTITIONS:
        fix = "add partitions with kafka-topics.sh --alter" if found < PARTITIONS else "make the topic anew"
        raise Failure(f"{found} partitions instead of {PARTITIONS}", f"{fix}; jobs/event.py declares their number")
    return f"{found} partitions"
