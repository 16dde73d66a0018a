"""The producer of a log: what it notes as acknowledged, and where a run goes on, on a simulated Kafka."""

from __future__ import annotations

import atexit
import datetime as dt
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Final

from jobs.kafka_topic import Declared
from jobs.producer import replay, sender
from jobs.producer.log_files import LogFile
from jobs.producer.topics import Topic, progress_topic
from tests.simulation.kafka import PARTITIONS, Consumer, Kafka, Log, Producer, Record
from tests.simulation.world import Host, World

TOPIC: Final = "t"
DAYS: Final = (dt.date(2020, 10, 1), dt.date(2020, 10, 2))
LINES: Final = (9, 5)
KINDS: Final = ("as it was", "another", "longer")


@cache
def folder() -> Path:
    """The log as it was, with another first day, and with a longer one: the same names in three folders."""
    root = Path(tempfile.mkdtemp(prefix="tripclick_simulation_"))
    atexit.register(shutil.rmtree, root)
    for kind in KINDS:
        (root / kind).mkdir()
        for day, count in zip(DAYS, LINES, strict=True):
            lines = [f"{number % 3} {day.day} {number}" for number in range(count + 2 * (kind == "longer"))]
            if kind == "another":
                lines[1] = "1 another"
            (root / kind / f"{day}.json").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return root


def lines_of(kind: str) -> list[bytes]:
    """All lines of a log."""
    return [line for day in DAYS for line in _lines(kind, day)]


@cache
def _lines(kind: str, day: dt.date) -> list[bytes]:
    return _file(kind, day).path.read_bytes().splitlines()


def _file(kind: str, day: dt.date) -> LogFile:
    return LogFile(folder() / kind / f"{day}.json", (day,))


class Sending:
    """A story of producers of one log, mostly one after another, and of what happens to the log and to Kafka."""

    PLACES = ("PRODUCE t/", "PRODUCE t.progress", "FETCH")

    def __init__(self, world: World) -> None:
        self.world = world
        self.kafka = world.kafka = Kafka(world)
        self.kind = KINDS[0]
        self.is_damaged = self.overlap = False
        self.kafka.watch = self._look
        self.runs = 0

    def tell(self) -> None:
        """Let it happen, and see that Kafka has every line."""
        world, chance = self.world, self.world.chance
        at = 0.0
        for _ in range(chance.randrange(1, 4)):
            world.after(at, self._start, chance.choice(world.hosts))
            at += chance.choice((0.5, 5.0, 400.0, 400.0))
            if chance.random() < 0.3:
                world.after(at - 0.1, chance.choice((self._recreate, self._truncate, self._drop, self._replace)))
        world.run()
        world.calm()
        before = self._sent_last()
        if self._sent_last() != before:
            world.broken("a run after one that ended well sends something again")
        if (
            not self.is_damaged
            and not self.overlap
            and before > len(lines_of(self.kind)) + (self.runs - 2) * sender.MAX_WAITING
        ):
            world.broken(f"{before} records of {len(lines_of(self.kind))} lines in {self.runs} runs")

    def _sent_last(self) -> int:
        self.world.finish(self._start(self.world.hosts[0]))
        return sum(self.kafka.log(TOPIC, partition).end for partition in range(PARTITIONS))

    def _start(self, host: Host) -> Any:
        self.runs += 1
        self.overlap |= any(not process.dead for process in self.world.processes)
        return self.world.start(f"run {self.runs}", host, self._run)

    def _run(self) -> None:
        kind, before = self.kind, self.kafka.id
        with sender.Sender("b", TOPIC, Declared()) as sink:
            replay.send_batch(sink, [_file(kind, day) for day in DAYS], [], 0)
        if (before, kind) == (self.kafka.id, self.kind):
            self._look_whether_all_is_there(kind)

    # What happens to Kafka and to the log between runs

    def _idle(self, what: str) -> bool:
        idle = all(process.dead for process in self.world.processes)
        if idle:
            self.world.tell(what)
            self.is_damaged = True
        return idle

    def _recreate(self, _: None) -> None:
        if self._idle("THE TOPIC IS RECREATED"):
            self.kafka.id += "1"
            for partition in range(PARTITIONS):
                self.kafka.logs[TOPIC, partition] = Log()

    def _truncate(self, _: None) -> None:
        log = self.kafka.log(TOPIC, self.world.chance.randrange(PARTITIONS))
        if log.end > log.begin and self._idle("A PARTITION LOSES ITS LAST RECORDS"):
            for _again in range(min(2, log.end - log.begin)):
                log.end -= 1
                del log.records[log.end]
            if self.world.random() < 0.5:  # and others come to their offsets
                log.append(Record(0, b"0 other", None, []))

    def _drop(self, _: None) -> None:
        log = self.kafka.log(TOPIC, self.world.chance.randrange(PARTITIONS))
        if log.end > log.begin and self._idle("KAFKA DROPS THE FIRST RECORDS"):
            del log.records[log.begin]
            log.begin += 1

    def _replace(self, _: None) -> None:
        if self._idle("THE LOG IS ANOTHER ONE"):
            self.kind = self.world.chance.choice(KINDS[1:])

    # What has to be so

    def _look(self, topic: str, record: Record) -> None:
        if topic == progress_topic(TOPIC):
            self._look_at_note(record)

    def _look_at_note(self, record: Record) -> None:
        """A note comes to Kafka: what it says is there must be there, if nothing has happened to Kafka since."""
        if self.is_damaged:
            return
        day = next((day for day in DAYS if str(day) in str(record.key())), DAYS[0])
        noted = int(str(record.value()).partition('"lines": ')[2].partition(",")[0])
        there = self._there()
        for line in _lines(self.kind, day)[:noted]:
            if not there[line]:
                self.world.broken(f"{noted} lines of {day} are noted, and Kafka does not have {line!r}")

    def _look_whether_all_is_there(self, kind: str) -> None:
        there = self._there()
        for line in lines_of(kind):
            if not there[line]:
                self.world.broken(f"a run ended well, and Kafka does not have {line!r}")

    def _there(self) -> Counter[bytes]:
        logs = [self.kafka.log(TOPIC, partition) for partition in range(PARTITIONS)]
        return Counter(record.value() for log in logs for record in log.records.values())


class Admin:
    """KafkaAdminClient."""

    def close(self) -> None:
        """Nothing is held."""


def topics(*_: object) -> Topic:
    """Stand in for ensure_topics: the topic is there."""
    return Topic(running().id, 1000)


def consumer(_: object) -> Consumer:
    """progress.Consumer."""
    return Consumer(running())


def running() -> Kafka:
    """The broker of the world that runs."""
    kafka: Kafka = World.now_running.kafka
    return kafka


def producer(*_: object) -> Producer:
    """sender._producer."""
    return Producer(running())
