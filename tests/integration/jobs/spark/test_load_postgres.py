"""Which rows a load brings: the days that have changed since PostgreSQL's run, and never those of an older one."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import psycopg
import pytest

from jobs.errors import JobError, NonRetryableError
from jobs.spark import analytics_mart_etl, load_postgres, mart_load, postgres, trace
from jobs.spark.migrations import migrate
from jobs.spark.postgres import as_csv, copy_rows
from jobs.spark.session import RUN
from tests.clicks import NOON, append, append_quarantine, at, click, frame
from tests.integration.jobs.spark.cold import cold_rows, load
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]


@dataclass(frozen=True)
class Lakes:
    """Roots with a mart, to be read only: a lake after its first run of the ETL and after its second, and another."""

    first: Path  # of three days
    second: Path  # with a day more, and a click more on the second one
    other: Path


@pytest.fixture(scope="module")
def lakes(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """Made once, since each run of the ETL takes many seconds."""
    root = tmp_path_factory.mktemp("lakes")

    def run(lake: Path, clicks: dict[str, int]) -> Path:
        places = ({"topic": "t", "partition": 0, "offset": crc32(each.encode()), "kafka_ts": NOON} for each in clicks)
        rows = [click(at(days=day), session, day, **next(places)) for session, day in clicks.items()]
        append(frame(spark, rows), lake / "curated")
        append_quarantine(spark, [], lake / "curated")
        paths = ["--curated-path", str(lake / "curated"), "--mart-path", str(lake / "mart")]
        analytics_mart_etl.run(analytics_mart_etl.parser().parse_args([*paths, "--incremental", "true"]))
        return lake

    first = shutil.copytree(run(root / "second", {"s0": 0, "s1": 1, "s2": 2}), root / "first")
    second = run(root / "second", {"s9": 9, "t1": 1})
    return Lakes(Path(first), second, run(root / "other", {"other": 0}))


def rows_by_load() -> dict[str, list[str]]:
    """The days of each load, the oldest first, of session_analysis and daily_traffic: rows of a load have its xmin."""
    found = {}
    for table in ("session_analysis", "daily_traffic"):
        query = (
            f"SELECT string_agg(DISTINCT event_date::text, ' ') FROM {table} GROUP BY xmin::text ORDER BY xmin::text"
        )
        found[table] = [days for (days,) in rows_of(query)]
    return found


def test_the_changed_days_alone_are_loaded(
    spark: SparkSession, lakes: Lakes, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(root: Path, *options: str) -> str:
        capsys.readouterr()
        load(root, *options)
        return capsys.readouterr().out

    assert "loads all days" in said(lakes.first)
    spark.conf.set(RUN, "r")
    assert "loads what has changed: 2 days" in said(lakes.second)
    spark.conf.unset(RUN)
    assert rows_by_load() == {
        "session_analysis": ["2026-05-04 2026-05-06", "2026-05-05 2026-05-13"],
        "daily_traffic": ["2026-05-04", "2026-05-05 2026-05-06 2026-05-13"],
    }
    assert "loads what has changed: 0 days" in said(lakes.second)
    history = "SELECT run_id, loaded_by, row_count FROM mart_load_history WHERE table_name = 'session_analysis' "
    assert len({run for run, _, _ in rows_of(history)}) == 2
    assert [row[1:] for row in rows_of(f"{history} ORDER BY loaded_at")] == [(None, 3), ("r", 5), (None, 5)]
    paths = ["--curated-path", str(lakes.second / "curated"), "--mart-path", str(lakes.second / "mart")]
    trace.run(trace.parser().parse_args(["--table", "session_analysis", *paths]))
    assert "clicks version 1, 5 of its clicks\n" in capsys.readouterr().out
    loaded = cold_rows()
    with as_owner() as owner:
        owner.execute("DELETE FROM session_analysis WHERE session_id = 's0'")
    assert "loads all days" in said(lakes.second, "--in-full", "true")
    assert cold_rows() == loaded
    assert len(rows_by_load()["session_analysis"]) == 1
    assert rows_of("SELECT row_count FROM mart_loads WHERE table_name = 'session_analysis'") == [(5,)]


def test_a_load_that_hung_does_not_replace_a_newer_run(spark: SparkSession, lakes: Lakes) -> None:
    hung = mart_load.read_marts(spark, str(lakes.first / "mart"), load_postgres.LOAD)
    load(lakes.second)
    newer = cold_rows()
    with psycopg.connect("", autocommit=True) as connection:
        with pytest.raises(JobError, match=f"this is an older one, {hung.run_id} .*trigger the load with in_full"):
            mart_load.replace(connection, hung)
        assert cold_rows() == newer
        mart_load.replace(connection, hung, 2, in_full=True)
    assert rows_of("SELECT DISTINCT run_id FROM mart_loads") == [(hung.run_id,)]


def test_a_run_on_another_lake_is_loaded_in_full(lakes: Lakes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(load_postgres, "refuse_missing_days", lambda _, *limits: asked.append(limits))
    load(lakes.first)
    load(lakes.other, "--max-shrink-factor", "3", "--missing-limit-days", "3")
    assert rows_of("SELECT session_id FROM session_analysis") == [("other",)]
    assert asked == [(3, dt.date(2000, 1, 1))]


def test_days_without_a_click_are_listed_and_refused_after_a_limit() -> None:
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)
        ((today,),) = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date")
        with as_owner() as owner:
            for ago in (1000, 9, 8, 4):  # a history, and its replay
                values = (today - dt.timedelta(days=ago), 1, 1, 1, 0)
                owner.execute("INSERT INTO daily_traffic VALUES (%s, %s, %s, %s, %s)", values)
        listed = rows_of("SELECT days_ago FROM missing_days ORDER BY days_ago")
        assert [ago for (ago,) in listed] == [2, 3, 5, 6, 7], "the day before may be on its way"
        first, last = today - dt.timedelta(days=7), today - dt.timedelta(days=5)
        with pytest.raises(NonRetryableError, match=rf"^no click of {first} to {last}: .* --missing-until {last}$"):
            load_postgres.refuse_missing_days(connection, 4, dt.date(2000, 1, 1))
        load_postgres.refuse_missing_days(connection, 4, last)
        with pytest.raises(NonRetryableError, match=f"no click of {today - dt.timedelta(days=3)}: "):
            load_postgres.refuse_missing_days(connection, 3, last)


def test_a_load_that_loses_rows_by_its_days_is_refused(lakes: Lakes) -> None:
    load(lakes.first)
    with as_owner() as owner:
        owner.execute("DELETE FROM session_analysis WHERE session_id = 's0'")
    damaged = cold_rows()
    with pytest.raises(JobError, match=r"not hold the same clicks \(.*session_analysis 4,"):
        load(lakes.second)
    assert cold_rows() == damaged


def test_every_cell_comes_through_copy_as_it_is(spark: SparkSession, tmp_path: Path) -> None:
    texts = [
        "",
        None,
        '"',
        '""',
        "\\.",
        "\\N",
        "NULL",
        ",",
        "a\nb",
        "\r\n\\.\n",
        "\t",
        " ",
        "é😀",
        "'",
        "{}",
        "x" * 99_999,
    ]
    moment = dt.datetime(2026, 5, 4, 23, 59, 59, 123456, dt.UTC)
    numbers = [(2**63 - 1, 0.1), (-(2**63), -1.7976931348623157e308), (0, 5e-324), (None, None)]
    rows = [(text, moment, moment.date(), n % 2 == 0, *numbers[n % 4]) for n, text in enumerate(texts)]
    lake = spark.createDataFrame(rows, "t string, at timestamp, day date, yes boolean, n bigint, x double")
    lake.coalesce(1).write.parquet(str(tmp_path / "lake{a} [b]*"))
    with as_owner() as connection:
        columns = "t text, at timestamptz, day date, yes boolean, n bigint, x double precision"
        connection.execute(f"CREATE TABLE cells ({columns})".encode())
        chunks = as_csv(spark, list(map(str, tmp_path.glob("lake*/*.parquet"))), lake.columns)
        assert copy_rows(connection, "cells", lake.columns, chunks) == len(rows)
        found = connection.execute("SELECT * FROM cells").fetchall()
    assert sorted(found, key=repr) == sorted(rows, key=repr)


def test_an_older_mart_loads_has_no_run_and_all_is_loaded(lakes: Lakes) -> None:
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)
        connection.execute("INSERT INTO mart_loads (table_name, row_count) VALUES ('daily_traffic', 7)")
    load(lakes.other)
    assert len(cold_rows()["daily_traffic"]) == 1


def test_a_job_that_hangs_within_a_transaction_holds_its_tables_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "HUNG_MS", 100)
    with postgres.connect() as hung, psycopg.connect("", autocommit=True) as other:
        migrate(other)
        hung.execute("BEGIN; LOCK TABLE mart_loads IN SHARE ROW EXCLUSIVE MODE")
        other.execute("SET lock_timeout = '10s'")
        other.execute("INSERT INTO mart_loads (table_name, row_count) VALUES ('daily_traffic', 7)")
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            hung.execute("SELECT 1")


def test_a_load_that_waits_for_one_that_hangs_in_a_copy_says_for_whom(
    lakes: Lakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(lakes.other)
    monkeypatch.setattr(postgres, "HUNG_MS", 300)
    with psycopg.connect("", application_name="hung") as hung, psycopg.connect("", application_name="reader") as reader:
        reader.execute("SELECT FROM daily_traffic")
        hung.execute("LOCK TABLE daily_traffic IN SHARE ROW EXCLUSIVE MODE")
        with hung.cursor() as cursor, cursor.copy("COPY daily_traffic FROM STDIN"):
            named = rf"it: {hung.info.backend_pid} \(\w+, hung\) of PostgreSQL: end it"
            with pytest.raises(JobError, match=named):
                load(lakes.other)
    load(lakes.other)
