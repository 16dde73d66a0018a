"""Half an hour of 500 clicks per second with all faults at random: nothing is lost or doubled, memory stays flat."""

from __future__ import annotations

import datetime as dt
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.generator.__main__ import write_day
from jobs.producer.replay import WEEK_MS
from jobs.producer.sender import MAX_WAITING
from stack.postgresql import SHARED_BUFFERS_MIB, PostgreSql
from stack.process import all_processes, memory
from tests.faults.chain import ARCHIVE, CURATED, ETL, HOT, JOBS, LOAD, SHIFT_MS, Chain, Driver
from tests.faults.conftest import IN_FULL, SPARK_FAULTS, Tell, kill
from tests.kafka_runs import lines_of, producing, records_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [*SPARK_FAULTS, IN_FULL]

MINUTES = float(os.environ.get("SOAK_MINUTES") or 30)
RATE = 500  # clicks per second
DAY_SECONDS = 10  # a day of the log is due every so often
SCALE = RATE * DAY_SECONDS / 1_930  # the lines of a dirty day at scale 1
FIRST_DAY = dt.date(2020, 4, 1)
FAULT_EVERY = (10.0, 30.0)  # seconds
SAMPLE_EVERY = 2.0
GROWS = 1.25  # at most: the last third of the time against the one before
CACHES = {PostgreSql.name: SHARED_BUFFERS_MIB}  # MiB that a start empties and use fills: no growth
STREAM = ("--until-caught-up", "false", "--run-minutes", "3")
BATCH_EVERY = 20.0  # seconds from a load to the next archive
# A JVM's heap grows with garbage until the next full collection, of which a run of minutes has two to four: how much it
# has at its most is an accident. These collect often, and give back what is not in use.
COLLECTS = (
    "-Dspark.cleaner.periodicGC.interval=10s -XX:-ShrinkHeapInSteps -XX:MinHeapFreeRatio=10 -XX:MaxHeapFreeRatio=30"
)
LIMIT_SECONDS = 600
PRODUCER, BROKER, POSTGRES, DRIVER = FAULTS = ("producer", "broker", "PostgreSQL", "driver")
ENDED_BY_US = (143, -signal.SIGTERM)  # the latter before the job has begun
MIB = 2**20


@dataclass
class Soak:
    """What runs, what has happened, and who held how much memory when."""

    chain: Chain
    log: Path
    days: list[dt.date]
    chance: random.Random
    over: threading.Event = field(default_factory=threading.Event)
    producer: subprocess.Popen[str] | None = None
    drivers: dict[str, Driver] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    started: float = 0.0
    sent_after: float = 0.0

    def begin(self) -> None:
        """Send the first day, and run each job once: all tables are there."""
        assert self._send(self.days[0])
        for job in JOBS:
            self.chain.run(job)
        self.started = time.monotonic()

    def produce(self) -> None:
        """Send each other day when it is due; one that was killed or red is sent again, and goes on where it was."""
        for number, day in enumerate(self.days[1:], 1):
            self.over.wait(max(0.0, self.started + number * DAY_SECONDS - time.monotonic()))
            while not self.over.is_set() and not self._send(day):
                pass
        self.sent_after = time.monotonic() - self.started

    def _send(self, day: dt.date) -> bool:
        options = f"--first-date={day}", f"--last-date={day}", f"--shift-weeks={SHIFT_MS // WEEK_MS}"
        with producing(self.chain.kafka.address, self.log, self.chain.topic, *options) as self.producer:
            said, _ = self.producer.communicate(timeout=LIMIT_SECONDS)
        self._note(PRODUCER, self.producer.returncode, said)
        return self.producer.returncode == 0

    def keep_running(self, job: str, *options: str) -> None:
        """A stream, started again whenever it ends."""
        while not self.over.is_set():
            self._run(job, *STREAM, *options)

    def keep_loading(self) -> None:
        """Archive, ETL and load, one after another, with pauses."""
        while not self.over.wait(BATCH_EVERY):
            self._run(ARCHIVE)
            self._run(ETL, "--incremental", "true")
            self._run(LOAD)

    def _run(self, job: str, *options: str) -> None:
        if self.over.is_set():
            return
        with self.chain.start(job, options=options, environment={"JDK_JAVA_OPTIONS": COLLECTS}) as driver:
            self.drivers[job] = driver
            code = driver.wait(LIMIT_SECONDS)
        del self.drivers[job]
        self._note(job, code, driver.said)

    def _note(self, name: str, code: int, said: str) -> None:
        """Count an end; AssertionError when it is red without one line that says why."""
        if code == -signal.SIGKILL:
            self.happened[f"kill -9 of {name}"] += 1
        elif code == 0 or (self.over.is_set() and code in ENDED_BY_US):
            self.happened[f"{name} ended well"] += 1
        else:
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            assert (code, len(errors), "Traceback" in said) == (1, 1, False), f"{name} ended with {code}:\n{said}"
            self.happened[f"{name} red: {re.sub(r'[^ ]*[0-9/][^ ]*', '…', errors[0])[:90]}"] += 1

    def fault(self, kind: str) -> None:
        """Signal 9 to a job, which counts when it was its end, or to a server, which is started again."""
        if kind == PRODUCER:
            self._kill_producer()
        elif kind == DRIVER and self.drivers:
            self.chance.choice(list(self.drivers.values())).end()
        elif kind in (BROKER, POSTGRES):
            server = self.chain.kafka if kind == BROKER else self.chain.postgres
            kill(server)
            server.start()
            self.happened[f"kill -9 of {kind}"] += 1

    def _kill_producer(self) -> None:
        """At a random moment of the next run."""
        deadline = time.monotonic() + 2 * DAY_SECONDS
        while time.monotonic() < deadline:
            if self.producer and self.producer.poll() is None:
                time.sleep(self.chance.uniform(0, 2))
                self.producer.kill()
                return
            time.sleep(0.02)

    def watch(self, until: float) -> None:
        """Sample how much memory each job and server holds, with all that came out of it. (A producer is soon over.)"""
        while (now := time.monotonic()) < until:
            everyone = all_processes()
            for job, driver in list(self.drivers.items()):
                its = [process for process in everyone if process.session == driver.process.pid]
                self.samples[job].append((now, memory(its)))
            for server in (self.chain.kafka, self.chain.postgres):
                self.samples[server.name].append((now, server.memory()))
            time.sleep(SAMPLE_EVERY)

    def largest(self) -> dict[str, tuple[int, ...]]:
        """The most MiB that each held, from one sample to the next, in each third of the time.

        What one sample alone has may be a JVM counted twice, at the moment in which it starts a program.
        """
        found: dict[str, list[int]] = {name: [0, 0, 0] for name in sorted(self.samples)}
        for name, samples in self.samples.items():
            for (at, size), (_, size_after) in pairwise(samples):
                part = min(2, int(3 * (at - self.started) / self.sent_after))
                found[name][part] = max(found[name][part], min(size, size_after) // MIB)
        return {name: tuple(parts) for name, parts in found.items()}


def test_soak(spark: SparkSession, chain: Chain, tmp_path: Path, chance: random.Random, tell: Tell) -> None:
    log = tmp_path / "log"
    days = [FIRST_DAY + dt.timedelta(number) for number in range(1 + round(MINUTES * 60 / DAY_SECONDS))]
    for day in days:
        write_day(log, day, SCALE, 7, dirty=True)
    lines = lines_of(log)
    soak = Soak(chain, log, days, chance)
    soak.begin()
    with ThreadPoolExecutor() as threads:
        produced = threads.submit(soak.produce)
        consumed = [
            threads.submit(soak.keep_running, CURATED, "--interval-seconds", "5"),
            threads.submit(soak.keep_running, HOT, "--interval-minutes", "0.5"),
            threads.submit(soak.keep_loading),
        ]
        try:
            while not produced.done():
                for kind in chance.sample(FAULTS, len(FAULTS)):
                    soak.watch(time.monotonic() + chance.uniform(*FAULT_EVERY))
                    assert not [future.exception() for future in consumed if future.done()]
                    soak.fault(kind)
        finally:
            soak.over.set()
            for driver in list(soak.drivers.values()):
                driver.end(signal.SIGTERM)
    for future in (produced, *consumed):
        future.result()
    happened = soak.happened
    soaked = len(lines) - len((log / f"{FIRST_DAY}.json").read_bytes().splitlines())
    tell(f"{soaked:,} lines in {soak.sent_after:.0f} s: {soaked / soak.sent_after:.0f} a second")
    tell(f"{dict(sorted(happened.items()))}")
    tell(f"most MiB in each third: {soak.largest()}")
    for job in JOBS:
        chain.run(job)
    chain.sent = [record.value for record in records_of(chain.kafka.address, chain.topic)]
    there, right = Counter(chain.sent), Counter(lines)
    lost, foreign, twice = (right - there).total(), len(there.keys() - right.keys()), (there - right).total()
    runs_again = sum(count for name, count in happened.items() if PRODUCER in name) - happened[f"{PRODUCER} ended well"]
    tell(f"{len(chain.sent):,} records in Kafka, {twice} of them sent twice by {runs_again} runs that went on")
    assert (lost, foreign) == (0, 0)
    assert twice <= runs_again * MAX_WAITING
    chain.check(spark)
    tell("lost 0, double 0")
    for name, (_, before, last) in soak.largest().items():
        assert last <= GROWS * before + CACHES.get(name, 0) or not before, f"{name} grows: {soak.largest()}"
