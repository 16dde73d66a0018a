"""The topics' settings as the environment declares them, what an existing topic lacks, and the commands that fix it.

Needs no Kafka client: the producer and preflight compare by the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.errors import NonRetryableError
from jobs.event import RETENTION_DAYS

if TYPE_CHECKING:
    from jobs.kafka_security import Security

DAY_MS = 24 * 3600 * 1000
# Whether a topic's setting is weaker than declared. Settings that are not here are set at creation only.
_IS_LESS: dict[str, Callable[[str, str], bool]] = {
    "cleanup.policy": lambda has, declared: bool({*has.split(",")} - {declared, ""}),
    "retention.ms": lambda has, declared: 0 <= int(has) < int(declared),
    "min.insync.replicas": lambda has, declared: int(has) < int(declared),
    "message.timestamp.type": lambda has, declared: has != declared,
}


@dataclass(frozen=True)
class Declared:
    """What an environment declares for its topics: replicas, in-sync replicas per write, days of retention.

    NonRetryableError if Kafka could accept no record at all.
    """

    replication: int = 1
    min_insync_replicas: int = 1
    retention_days: int = RETENTION_DAYS

    def __post_init__(self) -> None:
        if self.min_insync_replicas > self.replication:
            raise NonRetryableError(
                f"--min-insync-replicas {self.min_insync_replicas} is more than --replication {self.replication}, and "
                "Kafka would take no record: correct one of them"
            )

    @property
    def clicks(self) -> dict[str, str]:
        """Settings of the clicks topic. Timestamps are the broker's: an invented one can stop Spark's readers."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_days * DAY_MS),
            "min.insync.replicas": str(self.min_insync_replicas),
            "message.timestamp.type": "LogAppendTime",
        }

    @property
    def progress(self) -> dict[str, str]:
        """Settings of the progress topic, which has no retention limit. Kafka never compacts the open segment."""
        return {
            "cleanup.policy": "compact",
            "min.insync.replicas": str(self.min_insync_replicas),
            "segment.bytes": str(4 * 1024 * 1024),
        }


def lacking(has: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """The declared settings that a topic falls short of. `has` may be empty: not every login may read it."""
    compared = _IS_LESS.keys() & has.keys() & declared.keys()
    return {name: value for name, value in declared.items() if name in compared and _IS_LESS[name](has[name], value)}


def pairs(settings: Mapping[str, str], between: str = ", ") -> str:
    """The settings on one line: `name=value, name=value`."""
    return between.join(f"{name}={value}" for name, value in settings.items())


@dataclass(frozen=True)
class Tools:
    """Kafka's own commands, for these brokers and this login."""

    brokers: str
    security: Security

    def set(self, topic: str, settings: Mapping[str, str]) -> str:
        """The command that gives a topic these settings."""
        return f"kafka-configs.sh {self._to_brokers} --alter --topic {topic} --add-config {pairs(settings, ',')}"

    def replicate(self, topic: str, replicas: Mapping[int, Sequence[int]], nodes: Sequence[int], count: int) -> str:
        """The command that gives each partition so many replicas, or why there is none.

        `replicas` are the brokers of each partition, `nodes` all brokers.
        """
        if len(nodes) < count:
            return f"the cluster has {len(nodes)} brokers: start more, or lower --replication"
        partitions = [
            {"topic": topic, "partition": number, "replicas": _more(brokers, nodes, count)}
            for number, brokers in sorted(replicas.items())
        ]
        plan = json.dumps({"version": 1, "partitions": partitions})
        return f"kafka-reassign-partitions.sh {self._to_brokers} --execute --reassignment-json-file <(echo '{plan}')"

    @property
    def _to_brokers(self) -> str:
        login = f" --command-config {self.security.file}" if self.security.file else ""
        return f"--bootstrap-server {self.brokers}{login}"


def _more(replicas: Sequence[int], nodes: Sequence[int], count: int) -> list[int]:
    """The existing ones in their order, then the brokers whose numbers follow the first one's."""
    following = sorted(nodes, key=lambda node: (node < replicas[0], node))
    return [*replicas, *(node for node in following if node not in replicas)][:count]
