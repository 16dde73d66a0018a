"""What Kafka says: where each partition of the clicks ends, and which topics have too few in-sync replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobs.metrics.sample import Sample, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka.admin import KafkaAdminClient

    from jobs.kafka_security import Security

ANSWER_MS: Final = 5_000
Topics = dict[str, list[dict[str, Any]]]  # the partitions of each


class Cluster:
    """The brokers, asked on each scrape."""

    def __init__(self, brokers: str, security: Security, topic: str) -> None:
        self.topic = topic
        milliseconds = {"bootstrap_timeout_ms": ANSWER_MS, "request_timeout_ms": ANSWER_MS}
        self._settings = {"bootstrap_servers": brokers.split(","), **milliseconds, **security.python}

    def ask(self) -> tuple[list[Sample], dict[str, int]]:
        """The samples, and the end offset of each partition of the clicks; raises what the client does."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(**self._settings)
        try:
            topics = {topic["name"]: topic["partitions"] for topic in admin.describe_topics()}
            ours = {name: topics[name] for name in topics if f"{name}.".startswith(f"{self.topic}.")}
            return list(_short(ours)), self._ends(admin, ours)
        finally:
            admin.close()

    def _ends(self, admin: KafkaAdminClient, topics: Topics) -> dict[str, int]:
        from kafka import TopicPartition
        from kafka.admin import OffsetSpec

        places = [TopicPartition(self.topic, each["partition_index"]) for each in topics.get(self.topic, [])]
        found = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST)) if places else {}
        return {str(place.partition): end.offset for place, end in found.items()}


def _short(topics: Topics) -> Iterator[Sample]:
    for name, partitions in topics.items():
        short = sum(len(each["isr_nodes"]) < len(each["replica_nodes"]) for each in partitions)
        yield sample("tripclick_replicas_short", short, topic=name)
