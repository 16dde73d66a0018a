"""A click that should not be there is removed by its place, with a record of who and why; a replay brings it back."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from jobs.errors import JobError
from jobs.event import SHIFT_HEADER, event_id
from jobs.spark import analytics_mart_etl, quarantine, quarantine_removal, tables
from jobs.spark.quarantine_removal import Place, Removal, place, remove
from jobs.spark.quarantine_replay import replay
from tests.clicks import append_lines
from tests.contract_lines import SOURCE_MS, line

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

pytestmark = pytest.mark.integration
SHIFT_MS = 86_400_000
DAY_MS = 86_400_000
LINES = [
    *(
        line(SessionId=f"s{number % 3}", DateCreated=f"/Date({SOURCE_MS + number * DAY_MS // 2})/")
        for number in range(6)
    ),
    b"{",
]
GONE = 3


class Lake:
    """A curated stream of LINES, one record per line with its number as offset, and their archive."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self.spark, self.root = spark, root

    def write(self) -> None:
        spark, root = self.spark, self.root
        append_lines(spark, LINES, root / "curated", SHIFT_MS)
        places = self.read("clicks").select(*tables.PLACE).unionByName(self.read("quarantine").select(*tables.PLACE))
        values = spark.createDataFrame(
            [(n, bytearray(value)) for n, value in enumerate(LINES)], "offset bigint, value binary"
        )
        header = F.struct(F.lit(SHIFT_HEADER).alias("key"), F.lit(str(SHIFT_MS)).cast("binary").alias("value"))
        archive = places.join(values, on="offset", how="inner").withColumn("headers", F.array(header))
        archive = archive.withColumn("key", F.lit("k").cast("binary")).withColumn("archive_date", F.to_date("kafka_ts"))
        archive.select(*tables.ARCHIVE_COLUMNS).write.format("delta").save(str(root / "archive" / "clicks"))

    def read(self, table: str) -> Any:
        return self.spark.read.format("delta").load(str(self.root / "curated" / table))

    def rows(self, table: str) -> list[Row]:
        rows: list[Row] = self.read(table).orderBy("offset").collect()
        return rows

    def offsets(self) -> list[int]:
        return [row.offset for row in self.rows("clicks")]

    def remove(self, *offsets: int) -> None:
        self.remove_places(*(Place("t", 0, offset) for offset in offsets))

    def remove_places(self, *places: Place) -> None:
        curated, archive = self.root / "curated", self.root / "archive" / "clicks"
        removal = Removal(frozenset(places), "kim", "a load test's")
        remove(self.spark, str(curated / "clicks"), str(curated / "quarantine"), str(archive), removal)

    def replay(self, *, removed: bool = False) -> None:
        curated = self.root / "curated"
        replay(self.spark, str(curated / "clicks"), str(curated / "quarantine"), removed=removed)


@pytest.fixture(scope="module")
def once(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    Lake(spark, root).write()
    return root


@pytest.fixture
def lake(spark: SparkSession, once: Path, tmp_path: Path) -> Lake:
    """A copy for each test."""
    return Lake(spark, shutil.copytree(once, tmp_path, dirs_exist_ok=True))


@contextmanager
def in_seoul() -> Iterator[None]:
    """This process, on a host in Korea."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()


def test_a_killed_removal_is_ended_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: str) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quarantine_removal, "sql_name", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.remove(GONE)
    assert (len(lake.offsets()), len(lake.rows("quarantine"))) == (6, 2)
    for _ in range(2):
        lake.remove(GONE)
        assert (len(lake.offsets()), len(lake.rows("quarantine"))) == (5, 2)


def test_refuses_what_it_cannot_bring_back_and_does_nothing(lake: Lake) -> None:
    with pytest.raises(JobError, match=r"t/0/6, t/0/99: no click in .*; nothing was removed"):
        lake.remove(GONE, 6, 99)
    lake.spark.sql(f"DELETE FROM delta.`{lake.root}/archive/clicks` WHERE offset = 4").collect()
    with pytest.raises(JobError, match=r"t/0/4@.*: not in the raw archive"):
        lake.remove(GONE, 4)
    assert (len(lake.offsets()), len(lake.rows("quarantine"))) == (6, 1)


def test_of_two_topics_of_one_name_the_click_of_the_named_one_is_removed(lake: Lake) -> None:
    (old,) = lake.read("clicks").where(f"offset = {GONE}").collect()
    for table in ("curated/clicks", "archive/clicks"):
        rows = lake.spark.read.format("delta").load(str(lake.root / table)).where(f"offset = {GONE}")
        again = rows.selectExpr("* EXCEPT (kafka_ts)", "kafka_ts + INTERVAL 1 HOUR AS kafka_ts")
        again.select(*rows.columns).write.format("delta").mode("append").save(str(lake.root / table))
    with pytest.raises(
        JobError, match=r"t/0/3@.*, t/0/3@.*recreated, .* the one to remove .* nothing was removed"
    ) as refused:
        lake.remove(GONE)
    _, newer = (place(word.strip(",:")) for word in str(refused.value).split()[:2])
    lake.remove_places(newer)
    assert [row.kafka_ts for row in lake.rows("clicks") if row.offset == GONE] == [old.kafka_ts]


def test_a_click_is_moved_with_its_bytes_and_comes_back_by_a_replay(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*options: str) -> str:
        curated = ["--curated-path", str(lake.root / "curated")]
        quarantine.run(quarantine.parser().parse_args([*curated, *options]))
        return capsys.readouterr().out

    before = lake.rows("clicks")
    removal = ["--action", "remove", "--place", "t/0/0", f"t/0/{GONE}", "--by", "kim", "--reason", "a load test's"]
    with pytest.raises(JobError, match="needs --place, --by, --reason and --archive-path"):
        run(*removal)
    assert "moved 2 clicks from" in run(*removal, "--archive-path", str(lake.root / "archive"))
    assert lake.offsets() == [1, 2, 4, 5]
    _, row = (row for row in lake.rows("quarantine") if row.reason == "removed")
    assert (row.topic, row.partition, row.offset, row.kafka_ts) == ("t", 0, GONE, before[GONE].kafka_ts)
    assert (row.key, row.value, row.shift_ms) == (b"k", LINES[GONE], SHIFT_MS)
    assert (row.removed_by, row.removed_why) == ("kim", "a load test's")
    at = before[GONE].kafka_ts.astimezone(dt.UTC)
    with in_seoul():
        listed = run("--action", "list")
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC t partition 0 offset 3 removed by kim (a load test's): {{" in listed

    assert "checked 1 quarantined records again: 0 are valid now, 1 stay" in run("--action", "replay")
    assert lake.offsets() == [1, 2, 4, 5]
    assert "checked 3 quarantined records again: 2 are valid now, 1 stay" in run(
        "--action", "replay", "--removed", "true"
    )
    assert lake.rows("clicks") == before
    assert before[GONE].event_id == event_id(LINES[GONE], SHIFT_MS)
    assert [row.reason for row in lake.rows("quarantine")] == ["not_json"]


@pytest.mark.parametrize("text", ["t", "t/0", "t/0/x", "t'/0/1", "/0/1", "t/-1/0"])
def test_a_misspelt_place_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quarantine.parser().parse_args(["--curated-path", "x", "--place", text])
    assert "is not a valid place: write it as tripclick.clicks/0/4711" in capsys.readouterr().err


def test_the_incremental_marts_are_those_without_it(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the day that loses a click; test_incremental.py compares every cell with a run in full."""

    def etl() -> tuple[list[tuple[int, int]], list[str]]:
        """Clicks and bad records by day, and the session of each visit."""
        paths = ["--curated-path", str(lake.root / "curated"), "--mart-path", str(lake.root / "mart")]
        analytics_mart_etl.run(analytics_mart_etl.parser().parse_args([*paths, "--incremental", "true"]))
        read = lake.spark.read.format("delta")
        days, visits = (
            read.load(tables.table_path(str(lake.root / "mart"), name)).orderBy("event_date", key).collect()
            for name, key in ((tables.DAILY_TRAFFIC, "event_date"), (tables.SESSION_ANALYSIS, "session_id"))
        )
        return [(row.total_events, row.quarantined_count) for row in days], [row.session_id for row in visits]

    assert etl() == ([(2, 0), (2, 0), (2, 1)], ["s0", "s1", "s0", "s2", "s1", "s2"])
    lake.remove(GONE)
    capsys.readouterr()
    assert etl() == ([(2, 0), (1, 1), (2, 1)], ["s0", "s1", "s2", "s1", "s2"])
    assert "in full" not in capsys.readouterr().out
