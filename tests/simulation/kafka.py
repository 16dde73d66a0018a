"""A broker as librdkafka's producer and consumer see it: two partitions, idempotent producers, and what gets lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, TopicPartition

from tests.simulation.world import NoAnswerError, Waiting, World

PARTITIONS: Final = 2
DELIVERY_S: Final = 120.0
_UNKNOWN: Final = -1001  # an offset that the broker does not tell

Report = Callable[[KafkaError | None, Any], None]


class Record:
    """A message, as it is reported and as it is read."""

    def __init__(self, partition: int, value: bytes, key: bytes | None, headers: Any) -> None:
        self._partition, self._value, self._key, self._headers = partition, value, key, headers
        self.place = _UNKNOWN

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self.place

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes | None:
        return self._key

    def headers(self) -> Any:
        return self._headers

    def error(self) -> None:
        return None


class EndOfPartition:
    """What a consumer reports at the end."""

    @staticmethod
    def error() -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)


@dataclass
class Log:
    """The log of one partition: its records by offset."""

    records: dict[int, Record] = field(default_factory=dict)
    begin: int = 0
    end: int = 0
    of_producers: dict[int, list[int]] = field(default_factory=dict)  # by producer: the offsets of its records

    def append(self, record: Record) -> None:
        # A copy: the producer may not hear its offset.
        stored = Record(record.partition(), record.value(), record.key(), record.headers())
        stored.place = self.end
        self.records[self.end] = stored
        self.end += 1


class Kafka:
    """The topics of the producer: clicks, and its progress."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.id = "1"
        self.logs: dict[tuple[str, int], Log] = {}
        self.watch: Callable[[str, Record], None] = lambda *_: None
        self._producers = 0

    def log(self, topic: str, partition: int) -> Log:
        """A partition of a topic."""
        return self.logs.setdefault((topic, partition), Log())

    def new_producer(self) -> int:
        """The id of a new producer."""
        self._producers += 1
        return self._producers

    def append(self, topic: str, producer: int, sequence: int, records: Sequence[Record]) -> list[int] | None:
        """Their offsets, also of those that it has already; None when records before them are not there."""
        log = self.log(topic, records[0].partition())
        offsets = log.of_producers.setdefault(producer, [])
        if sequence > len(offsets):
            return None
        for record in records[len(offsets) - sequence :]:
            self.watch(topic, record)
            offsets.append(log.end)
            log.append(record)
        return offsets[sequence : sequence + len(records)]


class Producer:
    """confluent_kafka.Producer: a thread for each partition sends what is queued until it is answered."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka, self._world = kafka, kafka.world
        self._id = kafka.new_producer()
        self._queues: dict[tuple[str, int], deque[tuple[Record, Report, float]]] = {}
        self._woken: dict[tuple[str, int], Waiting] = {}
        self._reports: deque[tuple[Report, KafkaError | None, Record]] = deque()
        self._waiting: Waiting = []
        self._open = 0

    def produce(
        self, topic: str, value: bytes, key: bytes | None, *, on_delivery: Report, headers: Any = None, **_: object
    ) -> None:
        """Queue a record."""
        partition = value[0] % PARTITIONS if headers else 0
        place = (topic, partition)
        if place not in self._queues:
            self._queues[place], self._woken[place] = deque(), []
            self._world.thread(self._world.task.process, lambda: self._send(place))
        self._queues[place].append((Record(partition, value, key, headers), on_delivery, self._world.now))
        self._open += 1
        self._world.wake(self._woken[place])

    def _send(self, place: tuple[str, int]) -> None:
        queue, sequence = self._queues[place], 0
        error: KafkaError | None = None
        while True:
            if not queue:
                self._world.park(self._woken[place])
                continue
            batch = [queue.popleft() for _ in range(min(len(queue), 1 + self._world.chance.randrange(4)))]
            records = [record for record, *_ in batch]
            if not error:  # else what comes after is refused as well
                error = self._until_answered(place[0], sequence, records, batch[0][2] + DELIVERY_S)
            sequence += len(batch)
            self._reports.extend((report, error, record) for record, report, _ in batch)
            self._world.wake(self._waiting)

    def _until_answered(self, topic: str, sequence: int, records: list[Record], deadline: float) -> KafkaError | None:
        while self._world.now < deadline:
            try:
                what = f"PRODUCE {topic}/{records[0].partition()} {[record.value()[:8] for record in records]}"
                offsets = self._world.effect(what, lambda: self._kafka.append(topic, self._id, sequence, records))
            except NoAnswerError:
                self._world.sleep(1.0)
                continue
            if offsets is None:
                return KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
            for record, offset in zip(records, offsets, strict=True):
                record.place = offset
            return None
        return KafkaError(KafkaError._MSG_TIMED_OUT)

    def poll(self, seconds: float) -> int:
        """Report what is answered, after so long at most."""
        if not self._reports and seconds > 0:
            self._world.park(self._waiting, seconds)
        done = 0
        while self._reports:
            report, error, record = self._reports.popleft()
            self._open -= 1
            report(error, record)
            done += 1
        return done

    def flush(self, seconds: float) -> int:
        """Poll, and return how many records are still open."""
        self.poll(seconds if self._open else 0)
        return self._open

    def purge(self) -> None:
        """Nothing: what was given up is reported."""


class Consumer:
    """confluent_kafka.Consumer."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka, self._world = kafka, kafka.world
        self._log, self._at = Log(), 0

    def get_watermark_offsets(self, partition: TopicPartition, **_: object) -> tuple[int, int]:
        """Where it begins and ends."""
        log = self._kafka.log(partition.topic, partition.partition)
        bounds: tuple[int, int] = self._answered(f"bounds of {partition.topic}", lambda: (log.begin, log.end))
        return bounds

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read on there."""
        self._log, self._at = self._kafka.log(partitions[0].topic, partitions[0].partition), partitions[0].offset

    def consume(self, most: int, timeout: float) -> list[Any]:
        """Some records, and at the end its sign."""
        del timeout
        found: list[Any] = self._answered("FETCH", self._fetch)[:most]
        if not found:
            return [EndOfPartition()]
        self._at = found[-1].place + 1
        return found

    def _fetch(self) -> list[Record]:
        return [record for offset, record in self._log.records.items() if offset >= self._at]

    def _answered(self, what: str, act: Callable[[], Any]) -> Any:
        while True:  # librdkafka asks again
            try:
                return self._world.effect(what, act)
            except NoAnswerError:
                self._world.sleep(0.5)

    def close(self) -> None:
        """Nothing is held."""
