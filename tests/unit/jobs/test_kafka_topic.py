"""What a topic must be: what it has less than that, and the commands that give it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from jobs.errors import NonRetryableError
from jobs.kafka_security import PLAINTEXT, Security
from jobs.kafka_topic import Declared, Tools, lacking
from jobs.preflight import kafka_cluster
from jobs.preflight.kafka_cluster import Cluster, Topic, declared_by
from pipeline_config.preflight.probe import Failure
from pipeline_config.preflight.settings import from_environment
from pipeline_config.preflight.uses import uses_of
from pipeline_config.project import load_project

DECLARED = Declared(3, 2, 7)
TOOLS = Tools("k1:9092", PLAINTEXT)


@pytest.mark.parametrize(
    ("has", "less"),
    [
        ({}, set()),
        (DECLARED.clicks, set()),
        ({"retention.ms": "-1", "min.insync.replicas": "3"}, set()),
        ({"retention.ms": "604799999"}, {"retention.ms"}),
        ({"min.insync.replicas": "1"}, {"min.insync.replicas"}),
        ({"message.timestamp.type": "CreateTime"}, {"message.timestamp.type"}),
        ({"cleanup.policy": "compact,delete"}, {"cleanup.policy"}),
    ],
)
def test_only_what_a_topic_has_less_than_declared_is_lacking(has: dict[str, str], less: set[str]) -> None:
    assert lacking(has, DECLARED.clicks).keys() == less


def test_what_was_sent_is_not_forgotten_after_the_clicks_retention() -> None:
    assert lacking({"cleanup.policy": "compact,delete"}, DECLARED.progress) == {"cleanup.policy": "compact"}
    assert "retention.ms" not in DECLARED.progress


def test_more_replicas_in_sync_than_there_are_is_refused() -> None:
    with pytest.raises(NonRetryableError, match="--min-insync-replicas 2 is more than --replication 1"):
        Declared(1, 2)


def test_the_command_keeps_each_replica_and_spreads_the_others() -> None:
    command = TOOLS.replicate("t", {0: [1], 1: [2], 2: [3, 1]}, [1, 2, 3, 4], 3)
    plan = json.loads(shlex.split(command)[-1].removesuffix(")"))
    replicas = {each["partition"]: each["replicas"] for each in plan["partitions"]}
    assert replicas == {0: [1, 2, 3], 1: [2, 3, 4], 2: [3, 1, 4]}
    assert command.startswith("kafka-reassign-partitions.sh --bootstrap-server k1:9092 --execute --reassignment-json-f")
    secure = Tools("k1:9092", Security(file=Path("/etc/kafka/client.properties")))
    assert secure.set("t", {"a": "1", "b": "2"}) == (
        "kafka-configs.sh --bootstrap-server k1:9092 --command-config /etc/kafka/client.properties --alter --topic t "
        "--add-config a=1,b=2"
    )


def test_preflight_compares_a_topic_with_what_production_declares() -> None:
    project = load_project()
    environment = project.environment("production")
    given = declared_by(uses_of(project, environment))
    declared = kafka_cluster._declared(from_environment(project, environment), given)
    assert declared == DECLARED

    def told(topic: Topic) -> str:
        with pytest.raises(Failure) as failure:
            kafka_cluster._topic(Cluster([1, 2, 3], {"t": topic}), "t", declared, TOOLS)
        return f"{failure.value}; {failure.value.fix}"

    three = {number: [1, 2, 3] for number in range(3)}
    assert told(Topic({**three, 1: [2]}, declared.clicks)).startswith("1 replicas instead of 3; kafka-reassign-part")
    assert told(Topic(three, {"min.insync.replicas": "1"})) == (
        "min.insync.replicas=1 instead of 2; run a producer, which sets it if it may, or kafka-configs.sh "
        "--bootstrap-server k1:9092 --alter --topic t --add-config min.insync.replicas=2"
    )
    with pytest.raises(Failure, match="--min-insync-replicas 9 is more than --replication 1"):
        kafka_cluster._declared(from_environment(project, environment), {"min-insync-replicas": "9"})
