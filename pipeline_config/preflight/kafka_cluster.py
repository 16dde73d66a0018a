"""Kafka: brokers that answer, and topics with the partitions that the contract declares."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobs import kafka_security
from jobs.cli import JobError
from jobs.event import PARTITIONS
from jobs.kafka_security import Security
from jobs.spark.kafka_records import require_broker
from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Once, Probe
from pipeline_config.preflight.settings import Settings


@dataclass(frozen=True)
class Cluster:
    """What the brokers say: how many they are, and the partitions of each topic that there is."""

    brokers: int
    partitions: dict[str, int]


def probes(settings: Settings, variable: str, topics: list[str], security: str | None = None) -> list[Probe]:
    """One of the brokers that `variable` names, one of each topic, and one of the variable of their client.properties.

    That lies on the jobs' hosts: where this machine has none, no more than a connection to the brokers is tried.
    """
    cluster = Once(variable, lambda: _ask(settings, variable, topics, security))
    fix = f"start the brokers, or correct {variable}"

    def brokers() -> str:
        found = cluster.own()
        if found is None:
            return f"{settings.variable(variable)} takes a connection; {_untried(settings, security)}"
        return f"{settings.variable(variable)}, a cluster of {found.brokers}"

    def topic(name: str) -> str:
        found = cluster.needed()
        return _untried(settings, security) if found is None else _topic(found, name)

    return [
        Probe(variable, brokers, fix),
        *(Probe(f"topic {name}", partial(topic, name), fix) for name in topics),
        *([Probe(security, partial(_signs_in, settings, security), "")] if security else []),
    ]


def _signs_in(settings: Settings, variable: str) -> str:
    folder = _folder(settings, variable)
    if not folder:
        return "empty: Kafka speaks plaintext"
    security = _security(settings, variable)
    return f"{folder}, {security.python['security_protocol']}" if security else f"{folder}, not on this machine"


def _folder(settings: Settings, variable: str | None) -> str:
    if variable and variable not in settings.variables:
        fix = f"set it there, empty if Kafka speaks plaintext, or as AIRFLOW_VAR_{variable}"
        raise Failure(f"no value in {settings.source}", fix)
    return settings.variables[variable].strip() if variable else ""


def _security(settings: Settings, variable: str | None) -> Security | None:
    """How to sign in; None when this machine has not the file."""
    folder = _folder(settings, variable)
    if folder and not (Path(folder) / kafka_security.FILE).exists():
        return None
    try:
        return kafka_security.read(folder)
    except JobError as error:
        raise Failure(str(error), "mend it here, and look at the one on the jobs' hosts") from None


def _untried(settings: Settings, variable: str | None) -> str:
    return f"not tried without {_folder(settings, variable)}/{kafka_security.FILE} on this machine: TLS, login, topics"


def _ask(settings: Settings, variable: str, topics: list[str], security_variable: str | None) -> Cluster | None:
    """What the brokers say; None when they take a connection and this machine cannot sign in."""
    brokers = settings.variable(variable)
    security = _security(settings, security_variable)
    if security is not None:
        return _describe(brokers, variable, topics, security)
    try:
        require_broker(brokers)
    except JobError as error:
        raise Failure(str(error), f"start the brokers, or correct {variable}") from None
    return None


def _describe(brokers: str, variable: str, topics: list[str], security: Security) -> Cluster:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # each try of a connection would be a line
    milliseconds = ANSWER_SECONDS * 1000 // 2  # twice: to find the cluster, and to ask it
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=[broker.strip() for broker in brokers.split(",")],
            bootstrap_timeout_ms=milliseconds,
            request_timeout_ms=milliseconds,
            **security.python,
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
        if refused := kafka_security.refusal(brokers, security, ANSWER_SECONDS / 4):
            raise Failure(f"Kafka at {brokers} refused the login ({refused})", security.fix) from error
        why = f"no Kafka broker answers at {brokers} ({type(error).__name__})"
        fix = f"start the brokers, or correct {variable}: host:port, commas between; {security.fix}"
        raise Failure(why, fix) from error


def _topic(cluster: Cluster, topic: str) -> str:
    found = cluster.partitions.get(topic)
    if found is None:
        raise Failure("there is no such topic", f"run a producer once: it makes the topic with {PARTITIONS} partitions")
    if found != PARTITIONS:
        fix = "add partitions with kafka-topics.sh --alter" if found < PARTITIONS else "make the topic anew"
        raise Failure(f"{found} partitions instead of {PARTITIONS}", f"{fix}; jobs/event.py declares their number")
    return f"{found} partitions"
