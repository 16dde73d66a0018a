"""What a producer does with a topic that is there, where Kafka lets it do less."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.errors import NonRetryableError
from jobs.event import PARTITIONS
from jobs.kafka_security import PLAINTEXT
from jobs.kafka_topic import Declared, Tools
from jobs.producer.log_files import MAX_LINE_BYTES
from jobs.producer.topics import ensure_topics

TOOLS = Tools("k1:9092", PLAINTEXT)


class Admin:
    """A cluster of three brokers whose topics have one replica each, on the second one."""

    def __init__(self, settings: dict[str, str], answer: str = "TOPIC_AUTHORIZATION_FAILED") -> None:
        self.settings, self.answer = settings, answer

    def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        """Topics that exist, each with its partitions and one replica."""
        count = 1 if topics[0].endswith(".progress") else PARTITIONS
        partitions = [{"partition_index": number, "replica_nodes": [2]} for number in range(count)]
        return [{"name": topics[0], "error_code": 0, "topic_id": "id", "partitions": partitions}]

    def describe_cluster(self) -> dict[str, Any]:
        """The brokers of the cluster."""
        return {"brokers": [{"broker_id": number} for number in (3, 1, 2)]}

    def describe_configs(self, resources: list[Any], **_: object) -> dict[str, Any]:
        """The same of each topic."""
        settings = {name: {"value": value} for name, value in self.settings.items()}
        return {"topic": {resources[0].name: settings}}

    def alter_configs(self, resources: list[Any]) -> dict[str, Any]:
        """Refuse, with the given answer."""
        return {"topic": {resources[0].name: self.answer}}


def ensured(admin: Any, declared: Declared | None = None) -> int:
    """The longest line that the topic takes."""
    return ensure_topics(admin, "t", declared or Declared(), TOOLS).longest


def test_what_this_user_may_not_set_is_refused_with_the_command_of_each_topic() -> None:
    with pytest.raises(NonRetryableError) as refused:
        ensured(Admin({"min.insync.replicas": "1", "cleanup.policy": "delete"}), Declared(3, 2))
    said = str(refused.value)
    assert "topic t has 1 replicas, --replication declares 3: kafka-reassign-partitions.sh" in said
    assert '{"topic": "t", "partition": 2, "replicas": [2, 3, 1]}' in said
    why = "has min.insync.replicas=1, and this user may not change that (TOPIC_AUTHORIZATION_FAILED)"
    command = "kafka-configs.sh --bootstrap-server k1:9092 --alter --topic"
    assert f"topic t {why}: {command} t --add-config min.insync.replicas=2" in said
    before = "has cleanup.policy=delete, min.insync.replicas=1, and this user may not"
    assert f"topic t.progress {before}" in said
    assert said.endswith("t.progress --add-config cleanup.policy=compact,min.insync.replicas=2")


def test_settings_that_this_user_may_not_read_are_taken_as_they_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert ensured(Admin({})) == MAX_LINE_BYTES + 12 - 1024, "as brokers come"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("most", "longest"), [("10000", 8976), ("10000000", MAX_LINE_BYTES), ("1", 1024)])
def test_no_line_is_sent_that_the_topic_does_not_take(most: str, longest: int) -> None:
    assert ensured(Admin({"max.message.bytes": most})) == longest
