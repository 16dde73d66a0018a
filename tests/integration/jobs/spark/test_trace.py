"""From a table of PostgreSQL back to Kafka's offsets, as it is and as it was, and what is said where a step is gone."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import psycopg
import pytest
from pyspark.sql import SparkSession

from jobs.errors import JobError
from jobs.spark import trace
from jobs.spark.delta_log import newest
from jobs.spark.mart import Run, TableVersion
from jobs.spark.migrations import migrate
from jobs.spark.tables import CLICKS
from tests.clicks import append_lines
from tests.contract_lines import SOURCE_MS, line
from tests.integration.jobs.spark.databases import as_owner, database  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
DAY_MS = 86_400_000
FIRST, SECOND = (dt.datetime(2026, 5, day, 9, tzinfo=dt.UTC) for day in (4, 5))
COLD, HOT = ("--table", "daily_traffic"), ("--table", "mart_realtime_traffic_minute")


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Path:
    """A lake whose clicks of two days, at the offsets 0 to 3, came to daily_traffic at FIRST, and another later."""
    lines = [line(SessionId=f"s{n}", DateCreated=f"/Date({SOURCE_MS + n // 2 * DAY_MS})/") for n in range(5)]
    curated, mart = tmp_path / "curated" / CLICKS, str(tmp_path / "mart/daily_traffic")
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)
        for number, (first, last, when) in enumerate(((0, 4, FIRST), (4, 5, SECOND))):
            append_lines(spark, lines[first:last], tmp_path / "curated", 0, first)
            clicks = TableVersion.newest(spark, str(curated))
            assert clicks
            note = Run(f"etl {number}", "d", clicks, None).note
            spark.range(1).write.format("delta").mode("append").option("userMetadata", note).save(mart)
            load = ("daily_traffic", when, "dag" if number else None, f"etl {number}", 1)
            connection.execute("INSERT INTO mart_load_history VALUES (%s, %s, %s, %s, %s)", load)
    return tmp_path


def traced(lake: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What the job says, without the times before its lines."""
    capsys.readouterr()
    words = ["--curated-path", str(lake / "curated"), "--mart-path", str(lake / "mart"), *options]
    trace.run(trace.parser().parse_args(words))
    return re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", capsys.readouterr().out)


def test_leads_from_a_table_as_it_was_read_to_its_offsets(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = dt.datetime.fromtimestamp(SOURCE_MS / 1000, dt.UTC).date()
    now = traced(lake, capsys, *COLD)
    assert "PostgreSQL: daily_traffic, loaded 2026-05-05 09:00:00 UTC by dag\nmart: " in now
    assert "run etl 1\n" in now
    assert "Kafka: t partition 0 offsets 0 to 4, 5 clicks, arrived " in now
    assert f"log: {day} to {day + dt.timedelta(days=2)}\n" in now
    before = traced(lake, capsys, *COLD, "--at", "2026-05-05T08:59:59")
    assert "PostgreSQL: daily_traffic, loaded 2026-05-04 09:00:00 UTC by hand\nmart: " in before
    assert "/clicks version 0, 4 of its clicks\n" in before
    one = traced(lake, capsys, *COLD, "--day", f"{day + dt.timedelta(days=1)}")
    assert "offsets 2 to 3, 2 clicks" in one

    with pytest.raises(JobError, match=r"PostgreSQL has no load of daily_traffic until .*: a later --at"):
        traced(lake, capsys, *COLD, "--at", "2020-01-01")
    with pytest.raises(JobError, match=r"there is no table in .*/daily_traffic: correct --mart-path"):
        traced(lake, capsys, *COLD, "--mart-path", str(lake / "curated"))
    for path in (lake / "curated" / CLICKS).glob("*.parquet"):
        path.unlink()
    with pytest.raises(JobError, match=r"/clicks version 1 can no longer be read, its files or its log were deleted"):
        traced(lake, capsys, *COLD)
    shutil.rmtree(lake / "mart")
    spark = SparkSession.active()
    spark.range(1).write.format("delta").save(str(lake / "mart/daily_traffic"))
    with pytest.raises(JobError, match=r"the log of .*/daily_traffic no longer has run etl 1: Delta keeps 30 days"):
        traced(lake, capsys, *COLD)


def test_leads_from_a_hot_table_to_the_last_48_hours(
    spark: SparkSession, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table_id = newest(spark, str(lake / "curated" / CLICKS)).table_id
    clock = dt.datetime.fromtimestamp(SOURCE_MS / 1000, dt.UTC) + dt.timedelta(days=2)
    with as_owner() as owner:
        batch = "INSERT INTO mart_realtime_batches VALUES (%s, 1, %s, '2026-05-05 09:00Z', 'dag')"
        owner.execute(batch, (table_id, clock))
    said = traced(lake, capsys, *HOT)
    assert "PostgreSQL: mart_realtime_traffic_minute, micro-batch 1 of 2026-05-05 09:00:00 UTC by dag\n" in said
    assert "offsets 2 to 4, 3 clicks" in said
    with pytest.raises(JobError, match=r"/clicks does not reach back to 2020-01-01 00:00:00 UTC"):
        traced(lake, capsys, *HOT, "--at", "2020-01-01")
    with as_owner() as owner:
        owner.execute("UPDATE mart_realtime_batches SET query_id = 'another'")
    with pytest.raises(JobError, match=r"/clicks is not the table whose clicks the hot tables have"):
        traced(lake, capsys, *HOT)
