"""The hot stream beside the curated one: how long a click takes from Kafka to PostgreSQL, and whether memory grows."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import statistics
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka
import psycopg

from jobs.event import SHIFT_HEADER
from jobs.spark.migrations import OWNER
from stack.process import all_processes, memory
from stack.settings import REPOSITORY
from tests import spark_submit
from tests.bench import histories
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import FIRST_DAY, Lab, alone
from tests.bench.process import family
from tests.integration.jobs.spark.databases import make_schema

STAGE = "hot"
CLICKS_A_SECOND = 500
HISTORY_DAYS = 2
MINUTES, SHORT_MINUTES = 10, 2
POLL_SECONDS = 0.5
MIB = 2**20


def latency(lab: Lab) -> Cost:
    """The 95th percentile of seconds from Kafka to PostgreSQL, a hot batch a minute, after two days of history.

    Prints what share of the memory before the hot stream holds in the last third.
    """
    minutes = SHORT_MINUTES if lab.sizes.log < 28 else MINUTES
    root = lab.empty("hot")
    today = dt.datetime.now(dt.UTC).date()
    shift = today - dt.timedelta(days=HISTORY_DAYS) - FIRST_DAY
    log = lab.log(0, HISTORY_DAYS)
    alone(histories.write_shifted, log, root, shift)
    topic = lab.new_topic("hot")
    run = Run([line for file in log for line in file.read_bytes().splitlines()], lab.kafka.address, topic)
    environment = _schema(lab)
    paths = [f"--curated-path={root}", f"--checkpoint-path={root / 'checkpoint'}", f"--run-minutes={minutes + 5}"]
    kafka = [f"--kafka-brokers={lab.kafka.address}", f"--topic={topic}", "--interval-seconds=10"]
    with ExitStack() as open_:
        run.send_for(seconds=1)
        curated = open_.enter_context(_job("streaming_curated", [*kafka, *paths], environment, root))
        hot = open_.enter_context(_job("analytics_mart_realtime", [*paths, "--interval-minutes=1"], environment, root))
        arrivals = open_.enter_context(psycopg.connect(options=environment["PGOPTIONS"], **lab.postgres.login))
        arrivals.autocommit = True
        while not _arrived(arrivals):
            _require(root, curated, hot)
            time.sleep(POLL_SECONDS)
        sender = threading.Thread(target=run.send_for, args=(minutes * 60,))
        sender.start()
        while sender.is_alive() or len(run.delays) < len(run.sent):
            run.came(_arrived(arrivals))
            run.memory.append(memory(family(hot.pid, all_processes())))
            _require(root, curated, hot)
            time.sleep(POLL_SECONDS)
    third = len(run.memory) // 3
    before, last = (max(part) for part in (run.memory[third : 2 * third], run.memory[2 * third :]))
    delays = sorted(run.delays)
    print(  # noqa: T201
        f"  {len(delays):,} clicks: median {statistics.median(delays):.0f} s, last {delays[-1]:.0f} s; "
        f"memory of the hot stream {before // MIB:,} MiB, in the last third {last / before:.2f} times that"
    )
    return Cost(delays[int(0.95 * len(delays))], max(run.memory))


@dataclass
class Run:
    """What was sent when, and what came when: the clicks come in the order in which they were sent."""

    lines: Sequence[bytes]
    kafka: str
    topic: str
    sent: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clicks = _of_other_sessions([json.loads(line) for line in self.lines])

    def send_for(self, seconds: float) -> None:
        """Send CLICKS_A_SECOND, each dated now."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka, "linger.ms": 20})
        started = time.time()
        for number, (session, line) in enumerate(itertools.islice(self._clicks, int(seconds * CLICKS_A_SECOND))):
            time.sleep(max(0.0, started + number / CLICKS_A_SECOND - time.time()))
            now = f"/Date({int(time.time() * 1000)})/"  # "Number": of one millisecond, too, each is another click
            value = json.dumps({**line, "DateCreated": now, "SessionId": session, "Number": len(self.sent)})
            producer.produce(self.topic, value, session, headers=[(SHIFT_HEADER, b"0")])
            self.sent.append(time.time())
            producer.poll(0)
        producer.flush()

    def came(self, count: int) -> None:
        """So many are there now."""
        now = time.time()
        self.delays += [now - sent for sent in self.sent[len(self.delays) : count]]


def _of_other_sessions(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A session id and a click: those of the log again and again, each time of other sessions."""
    for again in itertools.count():
        for record in records:
            yield f"{record['SessionId'][:-4]}{again:04}", record


def _schema(lab: Lab) -> dict[str, str]:
    """libpq's environment of an empty schema."""
    name = f"bench_{uuid.uuid4().hex}"
    with psycopg.connect(**lab.postgres.login, autocommit=True) as connection:
        connection.execute(f"SET ROLE {OWNER}".encode())
        make_schema(connection, name)
    return {**lab.postgres.connection, "PGOPTIONS": f"-c search_path={name}"}


@contextmanager
def _job(name: str, options: list[str], environment: dict[str, str], root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A stream at work; what it says is in a file of `root`."""
    words = [*spark_submit.command(f"jobs/spark/{name}.py"), *options]
    with (root / f"{name}.log").open("wb") as said:
        process = subprocess.Popen(
            words, cwd=REPOSITORY, env={**spark_submit.environment(), **environment}, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _require(root: Path, *jobs: subprocess.Popen[bytes]) -> None:
    """RuntimeError, with all that they said, when one has ended."""
    if any(job.poll() is not None for job in jobs):
        raise RuntimeError("\n".join(file.read_text() for file in root.glob("*.log")))


def _arrived(arrivals: psycopg.Connection[Any]) -> int:
    query = "SELECT sum(total_clicks) FROM mart_realtime_traffic_minute WHERE event_minute >= CURRENT_DATE::timestamptz"
    if arrivals.execute("SELECT to_regclass('mart_realtime_traffic_minute')").fetchone() == (None,):
        return 0
    ((count,),) = arrivals.execute(query).fetchall()
    return int(count or 0)


ROWS = [Row("a click from Kafka to the hot tables, p95", STAGE, latency, reach=Reach("seconds", 90))]
