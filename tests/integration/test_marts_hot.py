"""Curated stream → hot tables: whole minutes and windows over micro-batches and restarts; nothing written twice."""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from jobs.generator.__main__ import write_day
from jobs.spark import analytics_mart_realtime as job
from jobs.spark import hot_tables
from tests.clicks import append, at, click, frame, of_logs
from tests.integration.databases import database, rows_of  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
Send = Callable[..., None]

TABLES = {
    "mart_realtime_traffic_minute": "event_minute, total_clicks, unique_sessions, unique_docs",
    "mart_realtime_top_docs_1h": "snapshot_ts, rank, document_id, title, click_count, unique_sessions",
    "mart_realtime_clinical_trend_24h": "snapshot_ts, clinical_area, click_count, unique_sessions, trend_pct",
    "mart_realtime_anomaly_sessions": "session_id, rule_id, window_start, window_end, click_count, severity",
}
MINUTE = dt.timedelta(minutes=1)


def run(root: Path) -> None:
    """One round of the job, in this process: all micro-batches there are."""
    paths = ["--curated-path", str(root / "curated"), "--checkpoint-path", str(root / "checkpoints")]
    job.run(job.parser().parse_args([*paths, "--until-caught-up", "true"]))


def hot_rows() -> dict[str, list[tuple[Any, ...]]]:
    """What PostgreSQL has, without the times of writing."""
    return {table: rows_of(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3") for table, columns in TABLES.items()}


def minutes() -> list[tuple[Any, ...]]:
    return hot_rows()["mart_realtime_traffic_minute"]


@pytest.fixture
def send(spark: "SparkSession", tmp_path: Path) -> Send:
    """Append clicks to the curated stream and run the job: a micro-batch."""

    def send_(*clicks: dict[str, Any]) -> None:
        append(frame(spark, clicks), tmp_path / "curated")
        run(tmp_path)

    return send_


def test_a_minute_of_two_batches_has_its_whole_count(send: Send) -> None:
    send(click(at(0), "a", 1), click(at(59), "b", 1), click(at(60), "b", 2))
    send(click(at(30), "c", 3), click(at(30.5), "a", 1))
    assert minutes() == [(at(0), 4, 3, 2), (at(60), 1, 1, 1)]


def test_a_click_that_was_sent_twice_counts_once(send: Send) -> None:
    send(click(at(0)))
    send(click(at(0)), click(at(1)))
    assert minutes() == [(at(0), 2, 1, 1)]


def test_windows_see_earlier_batches(send: Send) -> None:
    send(*(click(at(-23 * 3600 + n, days=-1), f"y{n}", clinical_areas=["Surgery", "Urology"]) for n in range(4)))
    send(click(at(-3599), "a", 7, title="Seven", clinical_areas=["Surgery"]), click(at(-3601), "a", 8))
    send(click(at(0), "b", 7, title=None, clinical_areas=["Surgery"]), click(at(1), "b", 9))
    rows = hot_rows()
    snapshot = at(60)
    last = {table: [row[1:] for row in rows[table] if row[0] == snapshot] for table in list(TABLES)[1:3]}
    # The hour before the snapshot is [-3540, 60): the two clicks of the second batch are older.
    assert last["mart_realtime_top_docs_1h"] == [(1, 7, None, 1, 1), (2, 9, "T", 1, 1)]
    assert last["mart_realtime_clinical_trend_24h"] == [
        ("Surgery", 2, 2, -50.0),
        ("Unknown", 2, 2, None),
        ("Urology", 0, 0, -100.0),
    ]
    second = at(-3540)
    assert [row[1:] for row in rows["mart_realtime_top_docs_1h"] if row[0] == second] == [
        (1, 7, "Seven", 1, 1),
        (2, 8, "T", 1, 1),
    ]


def test_a_burst_over_the_edges_is_found_once(send: Send) -> None:
    def clicks(first: int, count: int) -> list[dict[str, Any]]:
        return [click(at(200 + 4 * number), "burst", number) for number in range(first, first + count)]

    send(*clicks(0, 30))  # 12:03:20 to 12:05:16, over the edge of five minutes of the clock
    assert hot_rows()["mart_realtime_anomaly_sessions"] == []
    send(*clicks(30, 30))
    warning = ("burst", "clicks_5m", at(200 + 4 * 49 - 300), at(200 + 4 * 49), 50, "WARNING")
    assert hot_rows()["mart_realtime_anomaly_sessions"] == [warning]
    send(*clicks(60, 40))  # 75 clicks at most in five minutes
    assert hot_rows()["mart_realtime_anomaly_sessions"] == [warning]
    # Late ones: the burst reaches 50 earlier, and 100 now.
    send(*(click(at(201 + 2 * number), "burst", 1000 + number) for number in range(60)))
    first, second = hot_rows()["mart_realtime_anomaly_sessions"]
    assert warning in (first, second)
    assert [row[4:] for row in (first, second) if row != warning] == [(100, "CRITICAL")]


def test_a_batch_that_runs_again_changes_nothing(
    send: Send, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(*(click(at(number), "burst", number) for number in range(60)))
    send(click(at(400), "b"))
    before = hot_rows(), rows_of("SELECT updated_at FROM mart_realtime_traffic_minute ORDER BY 1")
    # The job died after PostgreSQL had the batch and before the checkpoint knew.
    for file in (tmp_path / "checkpoints" / job.NAME / "commits").glob("*1*"):
        file.unlink()
    run(tmp_path)
    assert "batch 1: is in PostgreSQL already" in capsys.readouterr().out
    assert (hot_rows(), rows_of("SELECT updated_at FROM mart_realtime_traffic_minute ORDER BY 1")) == before


def test_a_batch_that_failed_halfway_is_not_in(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(click(at(0)))
    before = hot_rows()

    def fail(*_: object) -> int:
        raise RuntimeError("the job dies here")

    with monkeypatch.context() as patch:
        patch.setattr(hot_tables, "_add_anomalies", fail)
        with pytest.raises(RuntimeError, match="dies here"):
            send(click(at(1)))
    assert hot_rows() == before
    send(click(at(2)))
    assert minutes() == [(at(0), 3, 1, 1)]


def test_a_new_checkpoint_writes_the_same_rows(send: Send, tmp_path: Path) -> None:
    send(*(click(at(number), "burst", number) for number in range(60)))
    send(click(at(400), "b"), click(at(30.5), "burst", 99))
    before = hot_rows()
    (tmp_path / "checkpoints").rename(tmp_path / "lost")
    run(tmp_path)
    assert hot_rows() == before


def test_a_new_database_gets_the_whole_horizon(send: Send) -> None:
    send(*(click(at(number), "burst", number) for number in range(60)))
    before = minutes(), hot_rows()["mart_realtime_anomaly_sessions"]
    with psycopg.connect("") as connection:
        connection.execute("DROP TABLE schema_migrations, mart_realtime_batches, session_analysis, daily_traffic")
        connection.execute(f"DROP TABLE clinical_areas, popular_documents, {', '.join(TABLES)}".encode())
    send(click(at(4000), "b"))
    assert minutes() == [*before[0], (at(3960), 1, 1, 1)]
    assert hot_rows()["mart_realtime_anomaly_sessions"] == before[1]


def test_very_late_clicks_are_left_to_the_cold_marts(send: Send, capsys: pytest.CaptureFixture[str]) -> None:
    send(click(at(0)), click(at(days=-2.1), "late"))
    send(click(at(days=-3), "later"))
    assert minutes() == [(at(0), 1, 1, 1)]
    assert "read 1 clicks (1 of them older than 48 h: left to the cold marts)" in capsys.readouterr().out


def test_generated_logs(spark: "SparkSession", tmp_path: Path) -> None:
    """Two days in three batches, cut anywhere: every minute of them is whole, and every burst is found."""
    days = [dt.date(2020, 10, 30), dt.date(2020, 10, 31)]
    for day in days:
        write_day(tmp_path / "logs", day, scale=3, seed=5)
    clicks = of_logs(spark, sorted((tmp_path / "logs").glob("*.json")))
    ordered = clicks.orderBy("event_ts").collect()
    for first, last in ((0, 4001), (4001, 9002), (9002, len(ordered))):
        append(spark.createDataFrame(ordered[first:last], clicks.schema), tmp_path / "curated")
        run(tmp_path)

    per_minute: dict[dt.datetime, list[Any]] = defaultdict(list)
    sessions: dict[str, list[float]] = defaultdict(list)
    for row in ordered:
        moment = row.event_ts.astimezone(dt.UTC)
        per_minute[moment.replace(second=0, microsecond=0)].append(row)
        sessions[row.session_id].append(moment.timestamp())
    assert minutes() == [
        (minute, len(rows), len({row.session_id for row in rows}), len({row.document_id for row in rows}))
        for minute, rows in sorted(per_minute.items())
    ]
    bursts = {session for session, times in sessions.items() if most_in(times, 300) >= 50}
    assert bursts
    assert {row[0] for row in hot_rows()["mart_realtime_anomaly_sessions"]} == bursts


def most_in(times: list[float], seconds: float) -> int:
    """The most of sorted `times` in any window."""
    return max(sum(end - seconds < time <= end for time in times) for end in times)
