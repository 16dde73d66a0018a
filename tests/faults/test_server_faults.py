"""Servers killed while the streams work, and full disks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import arguments
from jobs.generator.__main__ import write_day
from jobs.producer.replay import WEEK_MS
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from tests.faults import reader
from tests.faults.chain import ARCHIVE, CURATED, ETL, HOT, LOAD, SHIFT_MS, Chain, Driver
from tests.faults.conftest import FULL, GOES_ON_SECONDS, IN_FULL, SPARK_FAULTS, Tell, kill
from tests.kafka_runs import DAY, NEXT_DAY, lines_of, producing, records_of, stored, wait_for_more

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = SPARK_FAULTS

POSTGRES_KILLS = 20 if FULL else 1
BROKER_KILLS = 10
RECORDS_A_BATCH = {CURATED: 1500, ARCHIVE: 500}  # both are in the middle of the log when the broker is killed
PARTS_A_KILL = 8  # of the log: one that hits nothing needs another part, and four of ten may
WORK_SECONDS = 8.0 if FULL else 0.0  # of a driver, after its first line, until one has been measured


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """Two dirty days; they lie in tmp_path / "log"."""
    for day in (DAY, NEXT_DAY):
        write_day(tmp_path / "log", arguments.day(day), 1, 7, dirty=True)
    return lines_of(tmp_path / "log")


def parts_of(lines: list[bytes], count: int) -> list[list[bytes]]:
    """The lines in so many parts."""
    return [lines[number::count] for number in range(count)]


def minutes(chain: Chain) -> list[tuple[object, ...]]:
    """The hot minutes."""
    return chain.rows("SELECT event_minute, total_clicks, unique_sessions FROM mart_realtime_traffic_minute ORDER BY 1")


def test_postgresql_killed_while_the_hot_stream_works(
    spark: SparkSession, chain: Chain, lines: list[bytes], chance: random.Random, tell: Tell
) -> None:
    happened = Counter({"the batch was not in": 0, "the batch was in": 0, "hit nothing": 0})
    length = WORK_SECONDS
    first, *parts = parts_of(lines, PARTS_A_KILL * POSTGRES_KILLS + 1)
    chain.send(first)
    chain.run(CURATED)
    chain.run(HOT)
    while happened["the batch was not in"] + happened["the batch was in"] < POSTGRES_KILLS:
        chain.send(parts.pop())
        chain.run(CURATED)
        before = minutes(chain)
        with chain.start(HOT) as driver:
            assert driver.works()
            started = time.monotonic()
            try:
                ended = driver.wait(chance.uniform(0, length))
            except subprocess.TimeoutExpired:
                kill(chain.postgres)
                if FULL:  # else it stays away: whatever the job wants of it then, it misses
                    chain.postgres.start()
                ended = driver.wait()
                chain.postgres.start()
            if ended:
                assert "PostgreSQL" in driver.error
            else:  # too late, or too early: a slow machine takes longer until it needs the server
                length = time.monotonic() - started
        after = minutes(chain)
        chain.run(HOT)
        assert after in (before, minutes(chain)), "neither old nor new"
        # A job that ended well had no need of the server at that moment.
        happened[("the batch was in" if after != before else "the batch was not in") if ended else "hit nothing"] += 1
    chain.check_minutes(spark)
    tell(f"kill -9 of PostgreSQL: {dict(happened)}; lost 0, double 0")


@IN_FULL
def test_a_broker_killed_while_a_producer_and_two_streams_work_loses_and_duplicates_nothing(
    spark: SparkSession, chain: Chain, lines: list[bytes], tmp_path: Path, chance: random.Random, tell: Tell
) -> None:
    kafka, happened, waits = chain.kafka.address, Counter[str](), [0.0]
    weeks = range(SHIFT_MS // WEEK_MS, 0, -1)
    runs = (producing(kafka, tmp_path / "log", chain.topic, f"--shift-weeks={number}") for number in weeks)
    batches = {job: ("--records-per-batch", str(records)) for job, records in RECORDS_A_BATCH.items()}
    sent = 0
    while happened["killed"] < BROKER_KILLS:
        with next(runs) as backlog:
            assert backlog.wait(120) == 0
        with chain.start(CURATED, *batches[CURATED]) as curated, chain.start(ARCHIVE, *batches[ARCHIVE]) as archive:
            streams = {CURATED: curated, ARCHIVE: archive}
            work = all(stream.reads_on(0) for stream in streams.values())
            with next(runs) as producer:
                sent += 2
                if wait_for_more(kafka, chain.topic, stored(kafka, chain.topic), producer, GOES_ON_SECONDS) and work:
                    time.sleep(chance.uniform(0, 0.5))
                    working = [name for name, stream in streams.items() if stream.process.poll() is None]
                    kill(chain.kafka)
                    chain.kafka.start()
                    waits += goes_on(chain, producer, [streams[name] for name in working])
                    happened["killed"] += len(working) == len(streams)
                assert producer.wait(120) == 0, producer.communicate()
            for name, stream in streams.items():
                happened[f"{name}: {stream.error if stream.wait() else 'rode it out'}"] += 1
    for job in (CURATED, ARCHIVE):
        chain.run(job)
    chain.sent = [record.value for record in records_of(kafka, chain.topic)]
    tell(f"{len(chain.sent):,} records, went on within {max(waits):.1f} s, a batch included; {dict(happened)}")
    assert sorted(chain.sent) == sorted(lines * sent), "an idempotent producer doubles nothing"
    chain.check_curated(spark)
    chain.check_archive(spark)
    tell("lost 0, double 0")


def goes_on(chain: Chain, producer: subprocess.Popen[str], streams: list[Driver]) -> Iterator[float]:
    """Seconds after a broker's start until each of these that does not end goes on."""
    started, kafka = time.monotonic(), chain.kafka.address
    before = [stream.batches for stream in streams]
    if wait_for_more(kafka, chain.topic, stored(kafka, chain.topic), producer, GOES_ON_SECONDS):
        yield time.monotonic() - started
    for stream, batches in zip(streams, before, strict=True):  # a batch under way may be at its beginning
        if stream.reads_on(len(batches), GOES_ON_SECONDS + max(batches)):
            yield time.monotonic() - started


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes; skips where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=False)
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here: this test needs root and CAP_SYS_ADMIN")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes free."""
    file = disk / "filler"
    with file.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(disk).free - left)
    return file


def assert_full(driver: Driver, tell: Tell) -> None:
    """It ends red, and says that a disk is full."""
    assert driver.wait() == 1, driver.said
    tell(driver.error)
    assert "disk is full" in driver.error


MIB = 2**20


def test_full_disk_under_the_lake(
    spark: SparkSession, chain: Chain, lines: list[bytes], disk: Callable[[int], Path], tell: Tell
) -> None:
    chain.send(lines)
    (chain.root / "curated").symlink_to(small := disk(40 * MIB))
    filler = fill(small, 32 * 1024)
    with chain.start(CURATED) as driver:  # whose lease, which cannot be given back here, ends with its process
        assert_full(driver, tell)
    filler.unlink()
    chain.run(CURATED)
    chain.check_curated(spark)


@IN_FULL
def test_full_disk_under_sparks_temporary_folder(
    chain: Chain, lines: list[bytes], disk: Callable[[int], Path], tell: Tell
) -> None:
    chain.send(lines)
    chain.run(CURATED)
    small = disk(128 * MIB)
    with chain.start(ETL, environment={"SPARK_LOCAL_DIRS": str(small)}) as driver:
        assert driver.works()
        driver.end(signal.SIGSTOP)
        filler = fill(small, 0)
        driver.end(signal.SIGCONT)
        assert_full(driver, tell)
    filler.unlink()
    for job in (ETL, LOAD):
        chain.run(job)
    chain.check_cold()


@pytest.fixture
def small_postgres(disk: Callable[[int], Path], tmp_path: Path) -> Iterator[tuple[PostgreSql, Path]]:
    """A PostgreSQL on a small disk, and that."""
    home = Home(tmp_path / "small", any_port=True)
    (home.folder() / "postgres").symlink_to(small := disk(160 * MIB))
    postgres = PostgreSql(home)
    try:
        postgres.start()
        yield postgres, small
    finally:
        postgres.stop()


def test_full_disk_under_postgresql(
    spark: SparkSession,
    servers: tuple[KafkaBroker, PostgreSql],
    small_postgres: tuple[PostgreSql, Path],
    lines: list[bytes],
    tmp_path: Path,
    tell: Tell,
) -> None:
    postgres, small = small_postgres
    chain = Chain(tmp_path / "chain", servers[0], postgres)
    chain.send(lines)
    for job in (CURATED, ETL, LOAD):
        chain.run(job)
    postgres.stop()  # on a full disk a checkpoint ends the server: the next one is five minutes from its start
    postgres.start()
    with chain.connect() as dashboard:
        before = dashboard.execute(reader.QUERY.encode()).fetchone()
        fill(small, 32 * 1024)
        for job in (LOAD, HOT):
            tell(error := chain.error(job))
            assert "disk is full" in error
        for cached in small.rglob("pg_internal.init"):  # as autovacuum does: the next connection needs room for it
            cached.unlink()
        filler = fill(small, 0)
        tell(error := chain.error(LOAD))
        assert "disk is full" in error
        assert dashboard.execute(reader.QUERY.encode()).fetchone() == before
    filler.unlink()
    for job in (LOAD, HOT):
        chain.run(job)
    chain.check_cold()
    chain.check_minutes(spark)
