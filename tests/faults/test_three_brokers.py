"""Three brokers: one may be away and the log is sent on; of two no write succeeds, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from kafka import KafkaAdminClient, TopicPartition

from jobs.errors import NonRetryableError
from jobs.event import PARTITIONS, event_id
from jobs.kafka_topic import Declared
from jobs.producer.replay import WEEK_MS
from jobs.producer.sender import Sender
from stack.kafka_broker import KafkaBroker
from tests.faults.conftest import IN_FULL, Tell, kill
from tests.faults.test_producer_faults import log  # noqa: F401  (a fixture)
from tests.kafka_cluster import three_brokers
from tests.kafka_runs import consumer, lines_of, producing, records_of, stored, wait_for_more

# kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

DECLARED = Declared(replication=3, min_insync_replicas=2)
OPTIONS = ("--replication=3", "--min-insync-replicas=2")
STARTS_SECONDS = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KafkaBroker]]:
    """Three, running."""
    brokers = three_brokers(tmp_path_factory.mktemp("cluster"))
    try:
        for broker in brokers:
            broker.start()
        yield brokers
    finally:
        for broker in reversed(brokers):
            broker.stop()


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"faults.{uuid.uuid4().hex}"


def test_losing_one_of_three_brokers_changes_nothing_and_losing_two_stops_writes_without_loss(
    cluster: list[KafkaBroker],
    log: Path,  # noqa: F811
    topic: str,
    chance: random.Random,
    tell: Tell,
) -> None:
    first, second, third = cluster
    kafka = first.address
    everywhere = ",".join(broker.address for broker in cluster)
    with producing(everywhere, log, topic, *OPTIONS) as run:
        assert wait_for_more(kafka, topic, 0, run, STARTS_SECONDS)
        time.sleep(chance.uniform(0, 0.3))
        kill(second)
        assert run.poll() is None, "it was done already"
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 0, said
    with producing(everywhere, log, topic, "--shift-weeks=-1", *OPTIONS) as run:
        assert wait_for_more(kafka, topic, stored(kafka, topic), run, STARTS_SECONDS)
        kill(third)
        wait_until_alone(kafka, topic)
        assert "timed out" in str(refusal_of_a_write(kafka, topic))
        assert run.poll() is None
        third.start()
        second.start()
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 0, said
    records = records_of(kafka, topic)
    expected = Counter(event_id(line, shift) for line in lines_of(log) for shift in (0, -WEEK_MS))
    found = Counter(event_id(record.value, int(record.headers[0][1])) for record in records)
    tell(f"one of three brokers killed, then two, in the midst of {len(records)} records: lost 0, double 0")
    assert found == expected


def refusal_of_a_write(kafka: str, topic: str) -> KafkaError | None:
    """Why a record is not acknowledged within some seconds."""
    answers: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": kafka, "acks": "all", "message.timeout.ms": 5000, "log_level": 0})
    producer.produce(topic, b"never stored", on_delivery=lambda error, _: answers.append(error))
    producer.flush(STARTS_SECONDS)
    return answers[0]


def wait_until_alone(kafka: str, topic: str) -> None:
    """Wait until the cluster knows that each partition has one replica left."""
    deadline = time.monotonic() + STARTS_SECONDS
    with consumer(kafka) as ours:
        while any(each.isrs != [1] for each in ours.list_topics(topic, 30).topics[topic].partitions.values()):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@IN_FULL
def test_the_command_for_more_replicas_is_right(cluster: list[KafkaBroker], topic: str) -> None:
    kafka = cluster[0].address
    with Sender(kafka, topic, Declared()):
        pass
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        with pytest.raises(
            NonRetryableError, match="has 1 replicas, --replication declares 3: kafka-reassign-partit"
        ) as no:
            Sender(kafka, topic, DECLARED)
        plans = [json.loads(plan) for plan in re.findall(r"<\(echo '(.+?)'\)", str(no.value))]
        assert len(plans) == 2, "the topic of progress too"
        wanted = {
            TopicPartition(each["topic"], each["partition"]): each["replicas"]
            for plan in plans
            for each in plan["partitions"]
        }
        admin.alter_partition_reassignments(wanted)
        deadline = time.monotonic() + STARTS_SECONDS
        while admin.list_partition_reassignments():
            assert time.monotonic() < deadline
        with Sender(kafka, topic, DECLARED) as sender:
            sender.send([b"{}"], 0)
            sender.finish(1)
        partitions = admin.describe_topics([topic])[0]["partitions"]
        assert [len(each["isr_nodes"]) for each in partitions] == [3] * PARTITIONS
    finally:
        admin.close()
