"""Curated stream → hot tables: whole minutes and windows over micro-batches and restarts; nothing written twice."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from jobs.generator.__main__ import write_day
from jobs.spark import analytics_mart_realtime as job
from jobs.spark import hot_source, hot_tables
from jobs.spark.anomaly_rules import RULES
from jobs.spark.hot_stream import HotStream
from jobs.spark.migrations import migrate
from jobs.spark.postgres import connect
from jobs.spark.recent_clicks import RecentClicks
from jobs.spark.tables import CLICKS, sql_name
from stack.settings import REPOSITORY
from tests import reference, reference_hot
from tests.clicks import append, at, click, frame, of_logs
from tests.integration.jobs.spark.databases import as_owner, database, make_schema, rows_of  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
Send = Callable[..., None]

_TOP_COLUMNS = (
    "snapshot_ts, rank, document_id, title, click_count, unique_sessions, window_start, window_end, rank_delta"
)
TOP_HOURS = {"mart_realtime_top_docs_1h": 1, "mart_realtime_top_docs_24h": 24}
TABLES = {
    "mart_realtime_traffic_minute": "event_minute, total_clicks, unique_sessions, unique_docs, unique_queries, "
    "is_final",
    **dict.fromkeys(TOP_HOURS, _TOP_COLUMNS),
    "mart_realtime_clinical_trend_24h": "snapshot_ts, clinical_area, click_count, unique_sessions, trend_pct, "
    "prev_click_count, is_new, share",
    "mart_realtime_anomaly_sessions": "session_id, rule_id, window_start, window_end, click_count, severity, "
    "metric_value, threshold",
}
DAYS = dt.date(2020, 10, 30), dt.date(2020, 10, 31)
SEED = 10  # has each kind of anomaly on these days


def run(root: Path) -> None:
    """One round of the job, in this process: all micro-batches there are."""
    paths = ["--curated-path", str(root / "curated"), "--checkpoint-path", str(root / "checkpoints")]
    job.run(job.parser().parse_args([*paths, "--until-caught-up", "true"]))


def hot_rows() -> dict[str, list[tuple[Any, ...]]]:
    """What PostgreSQL has, without the times of writing."""
    return {table: rows_of(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 6") for table, columns in TABLES.items()}


def minutes() -> list[tuple[Any, ...]]:
    """event_minute, total_clicks, unique_sessions, unique_docs."""
    return [row[:4] for row in hot_rows()["mart_realtime_traffic_minute"]]


def bursts() -> list[tuple[Any, ...]]:
    """session_id, window_start, window_end, click_count, severity of clicks_5m, by window_start."""
    rows = hot_rows()["mart_realtime_anomaly_sessions"]
    return [(row[0], *row[2:6]) for row in rows if row[1] == "clicks_5m"]


@pytest.fixture
def send(spark: SparkSession, tmp_path: Path) -> Iterator[Send]:
    """Append clicks to the curated stream, and let them come to the hot tables: micro-batches of one run."""
    with running(spark, tmp_path) as stream:

        def send_(*clicks: dict[str, Any]) -> None:
            append(frame(spark, clicks), tmp_path / "curated")
            stream.advance()

        yield send_


@pytest.fixture(params=["of one run", "each of a run of its own"])
def send_either_way(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> Send:
    """The same; and with a new run for each micro-batch, which has to know again what the one before it knew."""
    if request.param == "of one run":
        send_: Send = request.getfixturevalue("send")
        return send_

    def in_a_run_of_its_own(*clicks: dict[str, Any]) -> None:
        append(frame(spark, clicks), tmp_path / "curated")
        run(tmp_path)

    return in_a_run_of_its_own


@contextmanager
def running(spark: SparkSession, root: Path) -> Iterator[HotStream]:
    """The job between its beginning and its end."""
    with connect() as connection, RecentClicks() as recent:
        migrate(connection)
        yield HotStream(spark, str(root / "curated" / CLICKS), recent, dt.timedelta(days=7))


def test_a_minute_of_two_batches_has_its_whole_count(send: Send) -> None:
    send(click(at(0), "a", 1), click(at(59), "b", 1), click(at(60), "b", 2))
    twice = click(at(0), "a", 1)
    send(click(at(30), "c", 3), click(at(30.5), "a", 1), twice)
    assert minutes() == [(at(0), 4, 3, 2), (at(60), 1, 1, 1)]


def test_windows_see_earlier_batches(send_either_way: Send) -> None:
    send_either_way(
        *(click(at(-23 * 3600 + n, days=-1), f"y{n}", clinical_areas=["Surgery", "Urology"]) for n in range(4))
    )
    send_either_way(click(at(-3599), "a", 7, title="Seven", clinical_areas=["Surgery"]), click(at(-3601), "a", 8))
    send_either_way(click(at(0), "b", 7, title=None, clinical_areas=["Surgery"]), click(at(1), "b", 9))
    rows = hot_rows()
    snapshot = at(60)
    last = {table: [row[1:] for row in rows[table] if row[0] == snapshot] for table in list(TABLES)[1:4]}
    # The hour before the snapshot is [-3540, 60): the two clicks of the second batch are older.
    assert last["mart_realtime_top_docs_1h"] == [
        (1, 7, None, 1, 1, at(-3540), snapshot, 0),
        (2, 9, "T", 1, 1, at(-3540), snapshot, None),
    ]
    assert last["mart_realtime_clinical_trend_24h"] == [
        ("Surgery", 2, 2, -50.0, 4, False, 2 / 4),
        ("Unknown", 2, 2, None, 0, True, 2 / 4),
        ("Urology", 0, 0, -100.0, 4, False, 0.0),
    ]
    second = at(-3540)
    assert [row[1:6] for row in rows["mart_realtime_top_docs_1h"] if row[0] == second] == [
        (1, 7, "Seven", 1, 1),
        (2, 8, "T", 1, 1),
    ]


def test_a_burst_over_the_edges_is_found_once(send_either_way: Send) -> None:
    def clicks(first: int, count: int) -> list[dict[str, Any]]:
        return [click(at(200 + 4 * number), "burst", number) for number in range(first, first + count)]

    send_either_way(*clicks(0, 30))  # 12:03:20 to 12:05:16, over the edge of five minutes of the clock
    assert bursts() == []
    send_either_way(*clicks(30, 70))  # 75 at most in five minutes
    warning = ("burst", at(200 + 4 * 49 - 300), at(200 + 4 * 49), 50, "WARNING")
    assert bursts() == [warning]
    # Late ones: the burst reaches 50 earlier, and 100 now.
    send_either_way(*(click(at(201 + 2 * number), "burst", 1000 + number) for number in range(60)))
    first, second = bursts()
    assert warning in (first, second)
    assert [row[3:] for row in (first, second) if row != warning] == [(100, "CRITICAL")]


def test_what_runs_again_writes_nothing(
    send: Send, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows() -> list[list[tuple[Any, ...]]]:
        """Of all tables, with the times of writing."""
        return [rows_of(f"SELECT {table}::text FROM {table} ORDER BY 1") for table in TABLES]

    send(*(click(at(number), "burst", number) for number in range(60)))
    send(click(at(400), "b"), click(at(30.5), "burst", 99))
    before = rows()
    run(tmp_path)
    assert "batch 1: is already in PostgreSQL" in capsys.readouterr().out
    of_a_stream = {"txnAppId": "a stream", "txnVersion": "1"}  # a version of the table without new clicks
    frame(spark, []).write.format("delta").options(**of_a_stream).mode("append").save(
        str(tmp_path / "curated" / CLICKS)
    )
    run(tmp_path)
    assert rows() == before
    assert "wrote 0 minutes, 0 top documents, 0 clinical areas, 0 new anomalies" in capsys.readouterr().out
    page = (REPOSITORY / "docs/operations.md").read_text("utf-8").partition("## The hot tables' clock")[2]
    reset = page.partition("```sql\n")[2].partition("```")[0]
    with as_owner() as owner:
        for table, column in zip(TABLES, ("event_minute", "snapshot_ts", "snapshot_ts"), strict=False):
            owner.execute(f"CREATE TEMP TABLE ahead AS SELECT * FROM {table} LIMIT 1".encode())
            owner.execute(f"UPDATE ahead SET {column} = now() + interval '1 day'".encode())
            owner.execute(f"INSERT INTO {table} SELECT * FROM ahead; DROP TABLE ahead".encode())
        assert rows() != before
        owner.execute(reset.encode())
    run(tmp_path)
    assert rows() == before


def test_a_new_database_gets_the_whole_horizon(spark: SparkSession, tmp_path: Path) -> None:
    append(frame(spark, [click(at(number), "burst", number) for number in range(60)]), tmp_path / "curated")
    run(tmp_path)
    before = minutes(), bursts()
    ((schema,),) = rows_of("SELECT current_schema()")
    with as_owner() as owner:
        owner.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        make_schema(owner, schema)
    append(frame(spark, [click(at(4000), "b")]), tmp_path / "curated")
    run(tmp_path)
    assert minutes() == [*before[0], (at(3960), 1, 1, 1)]
    assert bursts() == before[1]


def test_a_minute_is_final_when_ten_more_have_passed(send: Send) -> None:
    send(click(at(0)), click(at(60)), click(at(60 * 11 - 0.001), "b"))
    final = "SELECT event_minute, total_clicks, is_final FROM mart_realtime_traffic_minute ORDER BY 1"
    assert rows_of(final) == [(at(0), 1, False), (at(60), 1, False), (at(600), 1, False)]
    send(click(at(60 * 12), "b"), click(at(1), "late"))
    assert rows_of(final) == [(at(0), 2, True), (at(60), 1, True), (at(600), 1, False), (at(720), 1, False)]


def test_snapshots_go_when_they_are_old_by_both_clocks_and_minutes_stay(send: Send) -> None:
    def snapshots() -> list[list[tuple[Any, ...]]]:
        return [rows_of(f"SELECT DISTINCT snapshot_ts FROM {table} ORDER BY 1") for table in list(TABLES)[1:3]]

    for day in (0, 1, 8):
        send(*(click(at(number, days=day), "burst", number) for number in range(60)))
    everything = [(at(60, days=day),) for day in (0, 1, 8)]
    assert snapshots() == [everything] * 2  # a jump of event time alone
    with as_owner() as owner:
        for table in list(TABLES)[1:3]:
            owner.execute(f"UPDATE {table} SET written_at = now() - interval '8 days'".encode())
    send(click(at(59.5, days=8), "b"))
    assert snapshots() == [everything[1:]] * 2
    assert len(minutes()) == 3
    assert len(bursts()) == 3


def test_very_late_clicks_are_left_to_the_cold_marts(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(spark, tmp_path) as stream:
        for clicks in ([click(at(0)), click(at(days=-2.1), "late")], [click(at(days=-3), "later")]):
            append(frame(spark, clicks), tmp_path / "curated")
            stream.advance()
    assert minutes() == [(at(0), 1, 1, 1)]
    assert "read 1 clicks (1 of them older than 48 h: left to the cold marts)" in capsys.readouterr().out


def test_one_click_dated_ahead_moves_nothing_and_shows_when_its_time_comes(
    send_either_way: Send, capsys: pytest.CaptureFixture[str]
) -> None:
    send_either_way(click(at(0), kafka_ts=at(1)), click(at(30, days=3), "ahead", kafka_ts=at(2)))
    assert "1 of them dated ahead: kept until their time comes" in capsys.readouterr().out
    assert minutes() == [(at(0), 1, 1, 1)]
    send_either_way(click(at(120), kafka_ts=at(121)))
    assert [row[0] for row in hot_rows()["mart_realtime_top_docs_1h"]] == [at(60), at(180)]
    send_either_way(click(at(100, days=3), "c", kafka_ts=at(101, days=3)))
    assert minutes()[2:] == [(at(0, days=3), 1, 1, 1), (at(60, days=3), 1, 1, 1)]


def test_neither_a_click_nor_a_replay_that_ran_ahead_is_later_than_kafka_had_it(send: Send) -> None:
    replay = [click(at(3600 * hour), f"r{hour}", kafka_ts=at(200)) for hour in range(1, 100)]
    send(click(at(0), kafka_ts=at(1)), click(at(300), "ahead", kafka_ts=at(200)), *replay)
    assert [row[0] for row in hot_rows()["mart_realtime_top_docs_1h"]] == [at(240)]
    assert minutes() == [(at(0), 1, 1, 1)]
    send(click(at(301), "b", kafka_ts=at(302)))
    assert minutes() == [(at(0), 1, 1, 1), (at(300), 2, 2, 1)]


def test_what_kafka_has_from_a_wrong_clock_is_no_later_than_now(send: Send) -> None:
    now = dt.datetime.now(dt.UTC)
    send(click(now + dt.timedelta(days=20), kafka_ts=now + dt.timedelta(days=30)))
    ((clock,),) = rows_of("SELECT max_event_ts FROM mart_realtime_batches")
    assert now <= clock < now + dt.timedelta(minutes=5)


def test_another_stream_that_was_ahead_moves_nothing(send: Send, spark: SparkSession, tmp_path: Path) -> None:
    other = tmp_path / "other"
    append(frame(spark, [click(at(days=9))]), other / "curated")
    run(other)
    send(click(at(0)), click(at(days=-1), "b"))
    assert minutes() == [(at(days=-1), 1, 1, 1), (at(0), 1, 1, 1), (at(days=9), 1, 1, 1)]
    assert rows_of("SELECT DISTINCT newest_event_ts FROM freshness") == [(at(0),)]


def test_a_long_history_is_followed_from_the_horizon_on(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for days in (-800, -400, 0):
        append(frame(spark, [click(at(days=days)), click(at(90, days=days))]), tmp_path / "curated")
    run(tmp_path)
    assert "starts at 2026-05-02 12:02, 48 h before the newest click" in capsys.readouterr().out
    assert minutes() == [(at(0), 1, 1, 1), (at(60), 1, 1, 1)]


def test_files_that_were_replaced_and_deleted_since_the_last_run_are_not_missed(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curated = tmp_path / "curated"
    append(frame(spark, [click(at(0))]), curated)
    run(tmp_path)
    append(frame(spark, [click(at(1))]), curated)
    path = curated / CLICKS
    spark.sql(f"OPTIMIZE {sql_name(str(path))}").collect()
    kept = {Path(urlsplit(file).path).name for file in spark.read.format("delta").load(str(path)).inputFiles()}
    files = list(path.glob("**/*.parquet"))
    assert len(files) > len(kept) == 1
    for file in files:
        if file.name not in kept:
            file.unlink()
    capsys.readouterr()
    run(tmp_path)
    assert "starts at 2026-05-02 12:01, 48 h before the newest click" in capsys.readouterr().out
    assert minutes() == [(at(0), 2, 1, 1)]


def test_clicks_that_are_taken_out_are_out_of_minutes_and_clock(
    send_either_way: Send, spark: SparkSession, tmp_path: Path
) -> None:
    send_either_way(click(at(0)), click(at(300, days=-2), "old"))
    send_either_way(click(at(1), "wrong"), click(at(180), "wrong"), click(at(400), "wrong"))
    path = tmp_path / "curated" / CLICKS
    spark.sql(f"DELETE FROM {sql_name(str(path))} WHERE session_id = 'wrong'").collect()
    send_either_way(click(at(200), "b"))
    assert minutes() == [(at(300, days=-2), 1, 1, 1), (at(0), 1, 1, 1), (at(180), 1, 1, 1)]
    assert rows_of("SELECT max_event_ts FROM mart_realtime_batches") == [(at(200),)]
    for table in list(TABLES)[1:3]:
        assert rows_of(f"SELECT DISTINCT snapshot_ts FROM {table} ORDER BY 1") == [(at(60),), (at(240),)]


def test_every_cell_of_the_hot_tables_of_generated_logs(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell of every minute, snapshot and finding equals that of the reference.

    Two dirty days come in the order of their lines, cut anywhere, some clicks twice; the job dies in each batch after
    another step, the last one after the transaction.
    """
    for day in DAYS:
        write_day(tmp_path / "logs", day, scale=1, seed=SEED, dirty=True)
    clicks = of_logs(spark, sorted((tmp_path / "logs").glob("*.json")))
    rows = clicks.orderBy("offset").collect()
    # What is days late is the cold marts' affair.
    visits = [[one for one in visit if one.day >= DAYS[0]] for visit in reference.receive(tmp_path / "logs").visits]
    expected = {one.event_id: one for visit in visits for one in visit}
    steps = ("upsert_rows", "_put_snapshot", "_add_anomalies", "write")
    monkeypatch.setattr(hot_source, "CLICKS_PER_READ", 500)  # many reads a batch
    cuts = sorted(random.Random(SEED).sample(range(len(rows)), len(steps) - 1))  # noqa: S311
    tops: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TOP_HOURS}
    for step, (first, last) in zip(steps, itertools.pairwise([0, *cuts, len(rows)]), strict=True):
        append(spark.createDataFrame(rows[max(0, first - 100) : last], clicks.schema), tmp_path / "curated")
        before = hot_rows() if first else {}
        with monkeypatch.context() as patch:
            patch.setattr(hot_tables, step, then_die(getattr(hot_tables, step)))
            with pytest.raises(RuntimeError, match="dies here"):
                run(tmp_path)
        assert not first or (hot_rows() == before) == (step != "write")
        run(tmp_path)
        come = [expected[event_id] for event_id in {row.event_id for row in rows[:last]} & expected.keys()]
        tops = {table: reference_hot.top_docs(come, tops[table], hours) for table, hours in TOP_HOURS.items()}
        trend = reference_hot.clinical_trend(come)
        found = hot_rows()
        assert found["mart_realtime_traffic_minute"] == reference_hot.minutes(come)
        for table, top in tops.items():
            assert [row for row in found[table] if row[0] == top[0][0]] == top
        assert [row for row in found["mart_realtime_clinical_trend_24h"] if row[0] == trend[0][0]] == trend
    anomalies = sorted(hot_rows()["mart_realtime_anomaly_sessions"])
    assert {row[1] for row in anomalies} == {rule.rule_id for rule in RULES}
    assert anomalies == reference_hot.anomalies([visit for visit in visits if visit])


def then_die(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, and then the job's death."""

    def dies(*arguments: object) -> None:
        step(*arguments)
        raise RuntimeError("the job dies here")

    return dies
