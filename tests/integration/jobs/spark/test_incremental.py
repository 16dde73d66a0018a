"""The incremental ETL: after whatever arrivals the tables are those of a full one, to the bit."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.generator.__main__ import write_day
from jobs.spark import analytics_mart_etl, tables
from jobs.spark import session as spark_session
from jobs.spark.columns import Table
from jobs.spark.columns_cold import SESSION_ANALYSIS
from jobs.spark.mart import Mart, Run
from jobs.spark.upkeep import vacuum
from tests.clicks import append, append_lines, append_quarantine, at, click, frame
from tests.integration.jobs.spark.cold import different
from tests.kafka_runs import lines_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.integration

DAY_S = 86_400
Etl = Callable[..., str]


@pytest.fixture
def etl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Etl:
    """Run the ETL into `mart`; what it said."""

    def run(mart: str = "mart", incremental: str = "true") -> str:
        paths = ["--curated-path", str(tmp_path / "curated"), "--mart-path", str(tmp_path / mart)]
        capsys.readouterr()
        analytics_mart_etl.run(analytics_mart_etl.parser().parse_args([*paths, "--incremental", incremental]))
        return capsys.readouterr().out

    return run


@pytest.fixture
def same_as_in_full(spark: SparkSession, tmp_path: Path, etl: Etl) -> Callable[[], None]:
    """Fails unless the four tables hold exactly what a full run makes of the same clicks."""

    def rows(mart: str, table: str) -> list[tuple[Any, ...]]:
        path = tables.table_path(str(tmp_path / mart), table)
        return sorted((tuple(row) for row in spark.read.format("delta").load(path).collect()), key=repr)

    def check() -> None:
        etl("full", "false")
        for table in tables.COLD_MARTS:
            ours, right = rows("mart", table), rows("full", table)
            assert ours, table
            assert not list(different(ours, right)), table

    return check


def quarantined(offset: int, day: int = 0) -> dict[str, Any]:
    return {**came(offset, day), "value": b"{", "shift_ms": 0, "reason": "not_json"}


def came(offset: int, day: int = 0) -> dict[str, Any]:
    return {"topic": "t", "partition": 0, "offset": offset, "kafka_ts": at(days=day)}


def test_each_way_in_which_a_click_changes_other_rows(
    spark: SparkSession, tmp_path: Path, etl: Etl, same_as_in_full: Callable[[], None]
) -> None:
    curated = tmp_path / "curated"
    midnight = 20.5 * DAY_S

    def send(clicks: Sequence[dict[str, Any]], bad: Sequence[dict[str, Any]] = ()) -> None:
        append(frame(spark, clicks), curated)
        append_quarantine(spark, bad, curated)

    def changed() -> list[int]:
        """The days that the last run changed, counted from NOON's."""
        commit = max((tmp_path / "mart" / tables.DAILY_TRAFFIC / "_delta_log").glob("*.json")).read_text("utf-8")
        (info,) = (action["commitInfo"] for action in map(json.loads, commit.splitlines()) if "commitInfo" in action)
        days = Run.of(info["userMetadata"]).days or []
        return sorted((dt.date.fromisoformat(day) - at().date()).days for day in days)

    first = [click(at(0), "a", 1, query="x", click_rank=2, **came(0)), click(at(3000), "a", 2, query="y", **came(1))]
    first += [click(at(midnight + 600), "b", 1, clinical_areas=["Surgery", "Urology", "Oncology"], **came(2))]
    first += [click(at(days=day), f"c{day}", day % 3, **came(5 + day)) for day in range(9)]
    recreated = 50  # the day from which on the topic is another one
    first += [click(at(days=45), f"r{offset}", 1, **came(offset, recreated)) for offset in (0, 3)]
    send(first, [quarantined(3), quarantined(4)])
    assert "computes in full: there is no session_analysis" in etl()
    # Each way changes days of its own.
    arrivals = {
        "joins two visits": (click(at(1500), "a", 3, query="x", click_rank=1, **came(20)), [0]),
        "begins a visit on the day before": (click(at(midnight - 600), "b", 2, **came(21)), [20, 21]),
        "comes before a session's other visits, whose numbers change": (
            click(at(days=-30), "c7", 9, **came(22)),
            [-30, 7],
        ),
        "the same again": (first[8] | {"offset": 23}, [5]),  # c5's
    }
    # Bad records behind c8's click, and behind r3's, in the place of one in the old topic.
    send([one for one, _ in arrivals.values()], [quarantined(14), quarantined(4, recreated)])
    assert f"read {len(arrivals)} changed clicks: " in etl()
    assert changed() == sorted([8, 45, *(day for _, days in arrivals.values() for day in days)])
    vacuum(spark, str(tmp_path / "mart" / tables.DAILY_TRAFFIC))  # upkeep is no run
    assert "nothing has changed" in etl()
    path = tables.table_path(str(curated), tables.CLICKS)
    # Of "a" a click, of "b" the beginning of a visit, on the day before the rest of it, and all that c3's day had.
    spark.sql(f"DELETE FROM delta.`{path}` WHERE `offset` IN (20, 21, 8)").collect()
    # A replay of the quarantine: the record behind c8's click has left, that of r3's has another reason.
    bad = tables.table_path(str(curated), tables.QUARANTINE)
    spark.sql(f"DELETE FROM delta.`{bad}` WHERE `offset` = 14").collect()
    spark.sql(f"UPDATE delta.`{bad}` SET reason = 'future_date' WHERE `offset` = 4").collect()
    assert "read 3 changed clicks: " in etl()
    assert changed() == [0, 3, 8, 20, 21]
    same_as_in_full()


def test_a_run_after_one_that_was_killed_between_two_commits_computes_in_full(
    spark: SparkSession,
    tmp_path: Path,
    etl: Etl,
    same_as_in_full: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, write = threading.Event(), Mart.write

    def killed_later(mart: Mart, table: Table, *rest: Any) -> None:
        if table is not SESSION_ANALYSIS:
            written.wait()
            raise KeyboardInterrupt
        write(mart, table, *rest)
        written.set()

    for session in ("s", "t"):
        append(frame(spark, [click(session_id=session, **came(0))]), tmp_path / "curated")
        append_quarantine(spark, [], tmp_path / "curated")
        if session == "s":
            etl()
    with monkeypatch.context() as patch:
        patch.setattr(Mart, "write", killed_later)
        with pytest.raises(KeyboardInterrupt):
            etl()
    assert "computes in full: the tables in " in etl()
    same_as_in_full()


def test_random_arrivals_give_the_same_tables_as_a_run_in_full(
    spark: SparkSession, tmp_path: Path, etl: Etl, same_as_in_full: Callable[[], None]
) -> None:
    seed = int(os.environ.get("ARRIVALS_SEED", str(secrets.randbelow(10**6))))
    print(f"ARRIVALS_SEED={seed}")  # noqa: T201  (seen when it fails)
    chance = random.Random(seed)  # noqa: S311
    days = [dt.date(2020, 10, 25) + dt.timedelta(days=number) for number in range(10)]
    rounds: list[list[bytes]] = [[] for _ in range(int(os.environ.get("ARRIVALS_ROUNDS", "3")))]
    for number, day in enumerate(days):
        write_day(tmp_path / str(day), day, scale=0.2, seed=seed, dirty=True)
        usual = number * len(rounds) // len(days)
        for line in lines_of(tmp_path / str(day)):
            is_late = chance.random() < 0.05
            rounds[chance.randrange(usual, len(rounds)) if is_late else usual].append(line)
    offset = 0
    for number, lines in enumerate(rounds):
        lines += chance.sample(lines, len(lines) // 50)  # sent twice
        append_lines(spark, lines, tmp_path / "curated", first_offset=offset)
        offset += len(lines)
        assert ("in full" in etl()) == (number == 0)
    same_as_in_full()


def test_a_longer_history_is_shuffled_in_more_parts_and_one_day_of_it_is_not(
    spark: SparkSession, tmp_path: Path, etl: Etl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(9):
        append(frame(spark, [click(at(days=day), f"c{day}", **came(day))]).coalesce(1), tmp_path / "curated")
    clicks = spark.read.format("delta").load(tables.table_path(str(tmp_path / "curated"), tables.CLICKS))
    size = dict(map(tuple, clicks.select("event_date", "_metadata.file_size").collect()))

    def now() -> int:
        return int(str(spark.conf.get("spark.sql.shuffle.partitions")))

    def parts(rows: DataFrame) -> int:
        spark_session.shuffle_like(rows)
        return now()

    assert (len(size), parts(clicks)) == (9, spark_session.PARTS)
    monkeypatch.setattr(spark_session, "PART_BYTES", 1000)
    all_days = math.ceil(sum(size.values()) / 1000)
    assert parts(clicks) == all_days
    newest, of_it = max(size.items())
    assert spark_session.PARTS < parts(clicks.where(clicks.event_date == newest)) == math.ceil(of_it / 1000)
    etl()
    assert now() == all_days
