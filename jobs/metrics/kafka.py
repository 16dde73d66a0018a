"""What Kafka says: where each partition of the clicks ends and was a day ago, and which topics lack replicas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.metrics.sample import Sample, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka.admin import KafkaAdminClient

    from jobs.kafka_security import Security

ANSWER_MS: Final = 5_000
OVERDUE_HOURS: Final = 27  # from one daily run to the deadline of the next
Topics = dict[str, list[dict[str, Any]]]  # the partitions of each


class Ends(NamedTuple):
    """Offsets of a partition: its end, and the first one of what has come within OVERDUE_HOURS."""

    end: int
    overdue: int


class Cluster:
    """The brokers, asked on each scrape."""

    def __init__(self, brokers: str, security: Security, topic: str) -> None:
        self.topic = topic
        milliseconds = {"bootstrap_timeout_ms": ANSWER_MS, "request_timeout_ms": ANSWER_MS}
        self._settings = {"bootstrap_servers": brokers.split(","), **milliseconds, **security.python}

    def ask(self) -> tuple[list[Sample], dict[str, Ends]]:
        """The samples, and the ends of each partition of the clicks; raises what the client does."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(**self._settings)
        try:
            topics = {topic["name"]: topic["partitions"] for topic in admin.describe_topics()}
            ours = {name: topics[name] for name in topics if f"{name}.".startswith(f"{self.topic}.")}
            return list(_short(ours)), self._ends(admin, ours)
        finally:
            admin.close()

    def _ends(self, admin: KafkaAdminClient, topics: Topics) -> dict[str, Ends]:
        from kafka import TopicPartition
        from kafka.admin import OffsetSpec

        places = [TopicPartition(self.topic, each["partition_index"]) for each in topics.get(self.topic, [])]
        if not places:
            return {}
        since = round((time.time() - OVERDUE_HOURS * 3600) * 1000)
        # In this order: what comes in between is not overdue.
        ends, recent = (
            admin.list_partition_offsets(dict.fromkeys(places, asked)) for asked in (OffsetSpec.LATEST, since)
        )
        none = -1  # has come since then
        overdue = {place: ends[place] if first.offset == none else first for place, first in recent.items()}
        return {str(place.partition): Ends(ends[place].offset, overdue[place].offset) for place in places}


def _short(topics: Topics) -> Iterator[Sample]:
    for name, partitions in topics.items():
        short = sum(len(each["isr_nodes"]) < len(each["replica_nodes"]) for each in partitions)
        yield sample("tripclick_replicas_short", short, topic=name)
