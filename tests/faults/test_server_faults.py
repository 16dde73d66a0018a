"""PostgreSQL killed while the hot stream works, and a full disk under the lake."""

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

from jobs import cli
from jobs.generator.__main__ import write_day
from stack.process import wait_for_end
from stack.server import Server
from tests.faults.chain import CURATED, HOT, Chain
from tests.faults.conftest import FULL, SPARK_FAULTS, Tell
from tests.kafka_runs import lines_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = SPARK_FAULTS

POSTGRES_KILLS = 20 if FULL else 1
PARTS_A_KILL = 3  # of the log: a kill that comes too late needs another one
WORK_SECONDS = 8.0  # of a driver, after its first line, until one has been measured


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """Two dirty days."""
    for day in ("2020-10-01", "2020-10-02"):
        write_day(tmp_path / "log", cli.day(day), 1, 7, dirty=True)
    return lines_of(tmp_path / "log")


def kill(server: Server) -> None:
    """End all its processes by signal 9, and see that they are gone."""
    members = [process for daemon in server.daemons() for process in daemon.members()]
    for process in members:
        os.kill(process.pid, signal.SIGKILL)
    wait_for_end(members, 10)
    assert not any(daemon.pid for daemon in server.daemons())


def parts_of(lines: list[bytes], count: int) -> list[list[bytes]]:
    """The lines in so many parts."""
    return [lines[number::count] for number in range(count)]


def minutes(chain: Chain) -> list[tuple[object, ...]]:
    """The hot minutes."""
    return chain.rows("SELECT event_minute, total_clicks, unique_sessions FROM mart_realtime_traffic_minute ORDER BY 1")


def test_postgresql_killed_while_the_hot_stream_works(
    spark: SparkSession, chain: Chain, lines: list[bytes], chance: random.Random, tell: Tell
) -> None:
    happened = Counter({"the batch was not in": 0, "the batch was in": 0, "too late": 0})
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
                length = time.monotonic() - started
            except subprocess.TimeoutExpired:
                kill(chain.postgres)
                chain.postgres.start()
                ended = driver.wait()
            if ended:
                assert "PostgreSQL" in driver.error
        after = minutes(chain)
        chain.run(HOT)
        assert after in (before, minutes(chain)), "neither old nor new"
        # A job that ended well had no more need of the server: that kill hit nothing.
        happened[("the batch was in" if after != before else "the batch was not in") if ended else "too late"] += 1
    chain.check_minutes(spark)
    tell(f"kill -9 of PostgreSQL: {dict(happened)}; lost 0, double 0")


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


MIB = 2**20


def test_full_disk_under_the_lake(
    spark: SparkSession, chain: Chain, lines: list[bytes], disk: Callable[[int], Path], tell: Tell
) -> None:
    chain.send(lines)
    (chain.root / "curated").symlink_to(small := disk(40 * MIB))
    filler = fill(small, 32 * 1024)
    with chain.start(CURATED) as driver:
        assert driver.wait() == 1, driver.said
        tell(driver.error)
        assert "full" in driver.error
    filler.unlink()
    chain.run(CURATED)
    chain.check_curated(spark)
