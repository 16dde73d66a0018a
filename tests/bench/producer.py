"""Log files to Kafka: days at once beside librdkafka's own loop, and clicks at their moments."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import statistics
import sys
import time
from functools import partial

from jobs.event import SHIFT_HEADER
from jobs.producer.log_files import source_ms
from jobs.producer.replay import WEEK_MS
from tests.bench import process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab
from tests.kafka_runs import records_of

STAGE = "producer"
RATE, SECONDS = 1000, 20  # of the clicks at their moments
LEAD_SECONDS = 5  # in which the producer starts
WEEKS = 100


def batch(lab: Lab) -> Cost:
    """The whole log to a new topic, by the batch producer."""
    lab.kafka  # noqa: B018  started before the clock runs
    return lab.produce(_topic("batch"), lab.log(0, lab.sizes.log))


def batch_ceiling(lab: Lab) -> Cost:
    """The same by a bare loop."""
    topic = lab.new_topic("bare")
    files = [str(file) for file in lab.log(0, lab.sizes.log)]
    return process.run([sys.executable, "-m", "tests.bench.scripts.bare_producer", lab.kafka.address, topic, *files])


def realtime(lab: Lab, speed: int) -> Cost:
    """99 of 100 clicks, RATE a second, are sent within so many seconds after they should be."""
    topic, folder = _topic("realtime"), lab.empty("realtime")
    day = dt.datetime.now(dt.UTC).date() - dt.timedelta(weeks=WEEKS)
    lines = itertools.cycle(line for file in lab.log(0, 1) for line in file.read_bytes().splitlines())
    begins = int((time.time() + LEAD_SECONDS) * 1000) - WEEKS * WEEK_MS
    log = [
        _at(line, begins + number * speed * 1000 // RATE)
        for number, line in zip(range(RATE * SECONDS), lines, strict=False)
    ]
    (folder / f"{day}.json").write_bytes(b"\n".join(log))
    words = [sys.executable, "-m", "jobs.producer", "realtime", f"--kafka-brokers={lab.kafka.address}"]
    words += [f"--ingestion-path={folder}", f"--topic={topic}", f"--first-date={day}", f"--last-date={day}"]
    cost = process.run([*words, f"--speed={speed}"])
    late = _late(lab, topic, speed)
    return Cost(statistics.quantiles(late, n=100)[98] / 1000, cost.peak_bytes)


def _late(lab: Lab, topic: str, speed: int) -> list[float]:
    """Milliseconds after the wanted moment: event_ts, or at another speed as far after the first click as it says."""
    records = records_of(lab.kafka.address, topic)
    events = [(source_ms(record.value) or 0) + int(dict(record.headers)[SHIFT_HEADER]) for record in records]
    sent = [record.timestamp for record in records]
    origin = min(events)
    start = origin if speed == 1 else min(at - (event - origin) / speed for at, event in zip(sent, events, strict=True))
    return [at - start - (event - origin) / speed for at, event in zip(sent, events, strict=True)]


def _at(line: bytes, milliseconds: int) -> bytes:
    return re.sub(rb"/Date\(\d+\)/", b"/Date(%d)/" % milliseconds, line, count=1)


def _topic(name: str) -> str:
    return f"bench.{name}.{time.time_ns()}"


ROWS = [
    Row("batch producer", STAGE, batch, batch_ceiling, Reach("speed", 0.7), short=True),
    *(
        Row(
            f"realtime producer, p99 delay, speed {speed}",
            STAGE,
            partial(realtime, speed=speed),
            None,
            reach,
        )
        for speed in (1, 60)
        for reach in [Reach("seconds", 0.05)]
    ),
]
