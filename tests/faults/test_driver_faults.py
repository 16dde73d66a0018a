"""Spark's driver killed at random moments and at each commit point; two at once; the same again."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from jobs import arguments
from jobs.generator.__main__ import write_day
from jobs.spark import lease, lease_files, one_writer, tables
from stack.installer import install_faketime
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from tests.faults.chain import ARCHIVE, CURATED, ETL, HOT, JOBS, LAKE, LOAD, Chain
from tests.faults.conftest import FULL, IN_FULL, SPARK_FAULTS, Tell
from tests.kafka_runs import lines_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = SPARK_FAULTS

PARTS = 5  # in full, each with a chain of its own: more than a million clicks in all
KILLS = 20  # at random moments, in each part
TIMES = 2  # at each commit point, in each part
DAYS, SCALE = (4, 28.0) if FULL else (3, 0.6)
LINES_A_POINT = 100  # whatever the history: what counts is where it dies
BATCHES = 4  # of one run of a stream
AGAIN = 2
AT_START = 0.2  # of the kills hit a driver that starts
LENGTH = 8.0  # seconds of a driver's work in which it is killed, until one has been measured


class Point(NamedTuple):
    """A commit point of a job: before or after the n-th call of a function."""

    name: str
    job: str
    when: str
    place: str
    number: int


def points(name: str, job: str, place: str, *numbers: int) -> list[Point]:
    """Before and after each of these calls."""
    return [Point(f"{when} {name} {n}", job, when, place, n) for n in numbers for when in ("before", "after")]


APPEND = "jobs.spark.writer:append_once"
OVERWRITE = "pyspark.sql.readwriter:DataFrameWriter.save"
BATCH = "a batch and the checkpoint's commit file"
TRANSACTION = "psycopg.transaction:Transaction.__exit__"
POINTS = [
    *points("the append of quarantine or clicks", CURATED, APPEND, 1, 2),
    *points(BATCH, CURATED, "jobs.spark.streaming_curated:CuratedWriter.__call__", 1, 2),
    *points("the append of the archive", ARCHIVE, APPEND, 1, 2),
    *points(BATCH, ARCHIVE, "jobs.spark.archive_raw:ArchiveWriter.__call__", 2),
    *points("the overwrite of mart", ETL, OVERWRITE, 1, 2, 3, 4),
    *points("the COPY of table", LOAD, "jobs.spark.postgres:copy_rows", 1, 4),
    *points("the commit of transaction", LOAD, TRANSACTION, 2),
    *points("the claim of a batch", HOT, "jobs.spark.hot_tables:_claim", 1),
    *points("the commit of transaction", HOT, TRANSACTION, 2),
    *points(BATCH, HOT, "jobs.spark.hot_stream:HotStream.advance", 1),
]  # fmt: skip
# Where no lock of PostgreSQL is held, for which others wait; of a function that is called several times the first call.
STOPS = {
    job: list({point.name[:-2]: point for point in reversed(POINTS) if point.job == job}.values())
    for job in JOBS
    if job != LOAD
}
STOPS[HOT] = [
    point
    for point in STOPS[HOT]
    if not point.name.startswith(("after the claim of a batch", "before the commit of transaction"))
]
# A short run makes each kind of kill at a commit point once: at an append, an overwrite and a transaction. At a random
# moment tests/integration/jobs/spark/test_lease.py kills the curated stream.
FAULTS: dict[str, list[Any]] = {
    "in short": [
        Point("before the append of the archive 2", ARCHIVE, "before", APPEND, 2),
        Point("before the overwrite of mart 1", ETL, "before", OVERWRITE, 1),
        Point("after the commit of transaction 2", LOAD, "after", TRANSACTION, 2),
    ]
}
if FULL:
    kinds: dict[str, list[Any]] = {
        "at random moments": [*JOBS] * (KILLS // len(JOBS)),
        "at commit points": POINTS * TIMES,
    }
    FAULTS = {f"{kind}, part {part}": faults for kind, faults in kinds.items() for part in range(1, PARTS + 1)}


@pytest.fixture(params=["in a folder", "on S3"])
def chain_anywhere(request: pytest.FixtureRequest, servers: tuple[KafkaBroker, PostgreSql], tmp_path: Path) -> Chain:
    """A new chain, whose lake is in a folder or on S3."""
    s3 = None
    if request.param == "on S3":
        request.getfixturevalue("on_s3")
        s3 = request.getfixturevalue("s3")
    return Chain(tmp_path / "chain", *servers, s3=s3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of dirty days."""
    folder = tmp_path_factory.mktemp("log")
    for number in range(1, DAYS + 1):
        write_day(folder, arguments.day(f"2020-10-{number:02}"), SCALE, 7, dirty=True)
    return lines_of(folder)


class Feed:
    """Sends a log in equal parts, each with a broken line, so that every part reaches each commit point."""

    def __init__(self, chain: Chain, lines: list[bytes], parts: int) -> None:
        self.chain, self.lines = chain, lines
        self.size, self.number = -(-len(lines) // parts), 0

    def next(self) -> None:
        """Send the next part."""
        part = self.lines[self.number * self.size : (self.number + 1) * self.size]
        self.number += 1
        self.chain.send([b'{"broken %d' % self.number, *part])

    def driver(self) -> tuple[str, ...]:
        """Options by which a part is several batches."""
        return ("--records-per-batch", str(max(1, self.size // BATCHES)))


@pytest.mark.parametrize("when", FAULTS)
def test_killed_drivers_lose_and_duplicate_nothing(
    spark: SparkSession, chain: Chain, log: list[bytes], when: str, chance: random.Random, tell: Tell
) -> None:
    faults = FAULTS[when].copy()
    chance.shuffle(faults)
    lines = log[: LINES_A_POINT * len(faults)] if "commit points" in when else log
    feed = Feed(chain, lines, len(faults) + 1)
    feed.next()
    for job in JOBS:
        chain.run(job)
    lengths = dict.fromkeys(JOBS, LENGTH)
    happened: Counter[str] = Counter()
    mart_is_whole = True
    for fault in faults:
        feed.next()
        job = fault.job if isinstance(fault, Point) else fault
        if job == HOT:  # reads what this makes
            chain.run(CURATED)
        if job == LOAD and not mart_is_whole:  # it would refuse: people run the killed ETL again first
            chain.run(ETL)
        mart_is_whole = job != ETL and (mart_is_whole or job == LOAD)
        if isinstance(fault, Point):
            die_at(chain, feed, fault)
            happened[f"{fault.job} {fault.name}"] += 1
        else:
            while (moment := kill(chain, feed, fault, lengths, chance)) == "too late":
                feed.next()
            happened[f"{fault} {moment}"] += 1
    for job in JOBS:
        chain.run(job)
    tell(f"{len(chain.sent):,} records, {len(faults)} kills -9 of drivers: {dict(sorted(happened.items()))}")
    assert sum(happened.values()) == len(faults)
    chain.check(spark)
    tell("lost 0, double 0")
    check_without_checkpoints(spark, chain, tell)


def die_at(chain: Chain, feed: Feed, point: Point) -> None:
    """A driver that ends itself at a commit point."""
    with chain.start(point.job, *feed.driver(), "--die", point.when, point.place, str(point.number)) as driver:
        assert driver.wait() == -signal.SIGKILL, f"{point} was not reached\n{driver.said}"


def kill(chain: Chain, feed: Feed, job: str, lengths: dict[str, float], chance: random.Random) -> str:
    """Kill a driver at a random moment of its run, and say when that was; one that was too late measures the length."""
    with chain.start(job, *feed.driver()) as driver:
        at_start = chance.random() < AT_START
        if not at_start:
            driver.works()
        started = time.monotonic()
        try:
            ended = driver.wait(chance.uniform(0, lengths[job]))
        except subprocess.TimeoutExpired:
            driver.end()
            ended = driver.wait()
        assert ended in (0, -signal.SIGKILL), driver.said
        if ended == 0:
            lengths[job] = time.monotonic() - started
            return "too late"
        return "in the middle" if " read" in driver.said else "at its start"


@IN_FULL  # in short tests/integration/jobs/spark/test_lease.py has it, of the curated stream
def test_a_second_driver_at_the_same_time_is_refused(chain: Chain, log: list[bytes], tell: Tell) -> None:
    chain.send(log[:500])
    writers = [CURATED, ARCHIVE, ETL, HOT]
    for job in writers:
        with chain.start(job) as first:
            assert first.works()
            first.end(signal.SIGSTOP)
            assert f"is being written by {job}" in chain.error(job)
            first.end(signal.SIGCONT)
            assert first.wait() == 0, first.said
    tell(f"refused as the second writer: {', '.join(writers)}")


@IN_FULL
@pytest.mark.parametrize("job", STOPS)
def test_a_driver_that_stops_at_a_commit_until_another_took_over_loses_and_duplicates_nothing(
    spark: SparkSession, chain_anywhere: Chain, log: list[bytes], monkeypatch: pytest.MonkeyPatch, tell: Tell, job: str
) -> None:
    monkeypatch.setattr(lease, "EXPIRES_S", 3.0)  # of the one that waits; the stopped one renews nothing anyway
    chain, points = chain_anywhere, STOPS[job]
    feed = Feed(chain, log[: LINES_A_POINT * (len(points) + 1)], len(points) + 1)
    feed.next()
    for each in JOBS:
        chain.run(each)
    for point in points:
        feed.next()
        if job == HOT:
            chain.run(CURATED)
        words = ["--signal", "STOP", "--elsewhere", "--die", point.when, point.place, str(point.number)]
        with chain.start(job, *feed.driver(), *words) as driver:
            driver.is_stopped()
            chain.run(job)
            driver.end(signal.SIGCONT)
            ended = driver.wait()
            assert ended in (0, 1), driver.said
        tell(f"{job} stopped {point.name}, overtaken, went on and ended with {ended}")
    for each in JOBS:
        chain.run(each)
    chain.check(spark)
    tell("lost 0, double 0")


@IN_FULL
@pytest.mark.parametrize("ahead_s", [120, -120])
def test_hosts_whose_clocks_differ_have_one_writer_at_a_time(
    spark: SparkSession, chain_anywhere: Chain, log: list[bytes], monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    chain = chain_anywhere
    feed = Feed(chain, log[: 2 * LINES_A_POINT], 2)
    feed.next()
    for job in JOBS:
        chain.run(job)
    feed.next()
    follows = ["--until-caught-up", "false", "--run-minutes", "5"]
    with chain.start(CURATED, "--elsewhere", options=follows, environment=with_clock(ahead_s)) as driver:
        assert driver.works(), driver.said
        files = lease_files.files_in(spark, f"{chain.lake}/curated/{tables.CLICKS}/{one_writer.LEASE_FOLDER}")
        renewed = lease.State.of(files.read(max(files.names())) or b"").renewed
        assert abs(renewed - time.time() - ahead_s) < lease.EXPIRES_S / 2, "it has another clock"
        assert f"is being written by {CURATED}" in chain.error(CURATED), "it waits for a renewal, and sees one"
        driver.end(signal.SIGSTOP)
        monkeypatch.setattr(lease, "EXPIRES_S", 3.0)
        chain.send(log[2 * LINES_A_POINT : 3 * LINES_A_POINT])
        chain.run(CURATED)
        driver.end(signal.SIGCONT)
        assert driver.wait() == 1, driver.said
        assert "another job may be writing it" in driver.said
    for job in JOBS:
        chain.run(job)
    chain.check(spark)


def with_clock(ahead_s: int) -> dict[str, str]:
    """The environment of a process, and its children, whose host's clock is so many seconds ahead."""
    install_faketime()
    true_waits = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}  # else Java's are of 0 ms
    return {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketimeMT.so.1", "FAKETIME": f"{ahead_s:+}s", **true_waits}


@IN_FULL
def test_a_retry_while_the_first_try_hangs_is_refused_and_works_once_that_is_killed(
    spark: SparkSession, chain: Chain, log: list[bytes], tmp_path: Path, chance: random.Random, tell: Tell
) -> None:
    chain.send(log[:500])
    undisturbed = Chain(tmp_path / "undisturbed", chain.kafka, chain.postgres, chain.topic)
    for job in JOBS:
        if job != LOAD:  # PostgreSQL itself lets a second load wait
            with chain.start(job, "--records-per-batch", "100") as first:
                assert first.works()
                time.sleep(chance.uniform(0, 1))
                first.end(signal.SIGSTOP)
                with chain.start(job) as retry:
                    assert retry.wait() == 1, retry.said
                    assert f"is being written by {job}" in retry.error
                first.end()
                assert first.wait() == -signal.SIGKILL, first.said
        chain.run(job)
        undisturbed.run(job)
    assert chain.contents(spark) == undisturbed.contents(spark)
    tell("refused while the first try hung, right once it was killed: every job that writes a lease")


@IN_FULL
def test_running_all_jobs_again_changes_nothing(
    spark: SparkSession, chain: Chain, log: list[bytes], tell: Tell
) -> None:
    chain.send(log[:2000])
    found = []
    for _ in range(1 + AGAIN):
        for job in JOBS:
            chain.run(job)
        found.append(chain.contents(spark))
        assert found[-1] == found[0]
    chain.check(spark)
    tell(f"run {1 + AGAIN} times: the same {len(found[0])} tables")


def check_without_checkpoints(spark: SparkSession, chain: Chain, tell: Tell) -> None:
    """Streams whose checkpoints are deleted read all of Kafka again, and change nothing."""
    before = chain.contents(spark)
    assert len(before) == len([*LAKE, *tables.COLD_MARTS, *tables.HOT_MARTS, *tables.SEARCH_MARTS])
    shutil.rmtree(chain.root / "checkpoints")
    for job in (CURATED, ARCHIVE, HOT):
        chain.run(job)
    assert chain.contents(spark) == before
    tell(f"the streams run again with their checkpoints deleted: the same {len(before)} tables")
