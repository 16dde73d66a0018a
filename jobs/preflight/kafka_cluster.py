"""Kafka: brokers that answer, and topics as the contract and the environment declare them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import kafka_security
from jobs.errors import JobError
from jobs.event import PARTITIONS
from jobs.kafka_security import PLAINTEXT, Security
from jobs.kafka_topic import Declared, Tools, lacking
from jobs.spark.kafka_required import require_broker
from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Once, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.uses import Asked, Use
from pipeline_config.templates import reads

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

DECLARED = ("replication", "min-insync-replicas", "retention-days")  # options of the producers


@dataclass(frozen=True)
class Topic:
    """The brokers of each partition, and the settings, as far as this login may read them."""

    replicas: dict[int, list[int]]
    settings: dict[str, str]


@dataclass(frozen=True)
class Cluster:
    """What the brokers say: their numbers, and the topics that there are."""

    nodes: list[int]
    topics: dict[str, Topic]


def ask(asked: Asked) -> list[Probe]:
    """Of the brokers that the variable names, and of the topics that jobs read and write there."""
    topics = list(dict.fromkeys(name for use in asked.uses for name in use.topics))
    security = asked.read("kafka_security")
    return probes(asked.settings, asked.name, topics, security[0] if security else None, declared_by(asked.uses))


def declared_by(uses: Iterable[Use]) -> dict[str, str]:
    """What producers are given of DECLARED: a number each, or a template that reads one variable."""
    given = {name: use.options[name] for use in uses for name in DECLARED if name in use.options}
    return {name: text for name, text in given.items() if text.isdecimal() or len(reads(text).variables) == 1}


def probes(
    settings: Settings,
    variable: str,
    topics: list[str],
    security: str | None = None,
    declared: Mapping[str, str] | None = None,
) -> list[Probe]:
    """One of the brokers that `variable` names, one of each topic, and one of the variable of their client.properties.

    That lies on the jobs' hosts: where this machine has none, no more than a connection to the brokers is tried.
    `declared` is what the producers are given of DECLARED.
    """
    cluster = Once(variable, lambda: _ask(settings, variable, topics, security))
    fix = f"start the brokers, or correct {variable}"

    def brokers() -> str:
        found = cluster.own()
        if found is None:
            return f"{settings.variable(variable)} accepts connections; {_untried(settings, security)}"
        return f"{settings.variable(variable)}, a cluster of {len(found.nodes)}"

    def topic(name: str) -> str:
        found = cluster.needed()
        if found is None:
            return _untried(settings, security)
        tools = Tools(settings.variable(variable), _security(settings, security) or PLAINTEXT)
        return _topic(found, name, _declared(settings, declared or {}), tools)

    return [
        Probe(variable, brokers, fix),
        *(Probe(f"topic {name}", partial(topic, name), fix) for name in topics),
        *([Probe(security, partial(_signs_in, settings, security), "")] if security else []),
    ]


def _signs_in(settings: Settings, variable: str) -> str:
    folder = _folder(settings, variable)
    if not folder:
        return "empty: Kafka uses plaintext"
    security = _security(settings, variable)
    return f"{folder}, {security.python['security_protocol']}" if security else f"{folder}, not on this machine"


def _folder(settings: Settings, variable: str | None) -> str:
    if variable and variable not in settings.variables:
        fix = f"set it there, empty if Kafka uses plaintext, or as AIRFLOW_VAR_{variable}"
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
        raise Failure(str(error), "fix it here, and check the one on the jobs' hosts") from None


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
            nodes = sorted(broker["broker_id"] for broker in admin.describe_cluster()["brokers"])
            return Cluster(nodes, _topics(admin, topics))
        finally:
            admin.close()
    except (KafkaError, OSError, ValueError) as error:
        if refused := kafka_security.refusal(brokers, security, ANSWER_SECONDS / 4):
            raise Failure(f"Kafka at {brokers} refused the login ({refused})", security.fix) from error
        why = f"no Kafka broker answers at {brokers} ({type(error).__name__})"
        fix = f"start the brokers, or correct {variable}: host:port, separated by commas; {security.fix}"
        raise Failure(why, fix) from error


def _topics(admin: KafkaAdminClient, names: list[str]) -> dict[str, Topic]:
    from kafka.admin import ConfigResource, ConfigResourceType

    found = [topic for topic in admin.describe_topics(names) if not topic["error_code"]]
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic["name"]) for topic in found]
    settings = admin.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    return {
        topic["name"]: Topic(
            {partition["partition_index"]: partition["replica_nodes"] for partition in topic["partitions"]},
            {name: setting["value"] for name, setting in settings.get(topic["name"], {}).items()},
        )
        for topic in found
    }


def _declared(settings: Settings, given: Mapping[str, str]) -> Declared:
    """What the producers would declare; their options are given a variable or a number."""
    values = {option: _number(settings, text) for option, text in given.items()}
    try:
        return Declared(**{option.replace("-", "_"): int(value) for option, value in values.items()})
    except (JobError, ValueError) as error:
        raise Failure(str(error), "correct these variables: whole numbers above 0") from None


def _number(settings: Settings, text: str) -> str:
    return text if text.isdecimal() else settings.variable(min(reads(text).variables))


def _topic(cluster: Cluster, name: str, declared: Declared, tools: Tools) -> str:
    topic = cluster.topics.get(name)
    if topic is None:
        raise Failure(
            "there is no such topic", f"run a producer once: it creates the topic with {PARTITIONS} partitions"
        )
    found, fewest = len(topic.replicas), min(map(len, topic.replicas.values()))
    if found != PARTITIONS:
        fix = "add partitions with kafka-topics.sh --alter" if found < PARTITIONS else "recreate the topic"
        raise Failure(f"{found} partitions instead of {PARTITIONS}", f"{fix}; jobs/event.py declares their number")
    if fewest < declared.replication:
        fix = tools.replicate(name, topic.replicas, cluster.nodes, declared.replication)
        raise Failure(f"{fewest} replicas instead of {declared.replication}", fix)
    if less := lacking(topic.settings, declared.clicks):
        has = ", ".join(f"{name}={topic.settings[name]} instead of {value}" for name, value in less.items())
        raise Failure(has, f"run a producer, which sets it if it may, or {tools.set(name, less)}")
    return f"{found} partitions, {fewest} replicas"
