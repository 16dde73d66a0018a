"""Windows, ranks, trends and bursts of the hot tables, on rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import JobError
from jobs.spark import hot_marts
from jobs.spark.moments import micros
from jobs.spark.recent_clicks import COLUMNS, RecentClicks
from jobs.spark.tables import TRAFFIC_MINUTE
from tests.clicks import NOON, at, click

LATER = at(3600)  # than all clicks of a burst
TYPES = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "VARCHAR[]": pa.list_(pa.string())}


@pytest.fixture
def recent() -> Iterator[RecentClicks]:
    """No clicks."""
    with RecentClicks() as clicks:
        yield clicks


def add(recent: RecentClicks, clicks: Sequence[dict[str, Any]]) -> None:
    """Clicks come."""
    rows = [{**one, "event_ts": micros(one["event_ts"])} for one in clicks]
    columns = {name: pa.array([row.get(name) for row in rows], TYPES[kind]) for name, kind in COLUMNS.items()}
    recent.add(pa.table(columns))


def collected(
    recent: RecentClicks, mart: Callable[[dt.datetime], str], clicks: Sequence[dict[str, Any]], snapshot: dt.datetime
) -> list[tuple[Any, ...]]:
    """The mart's rows of these clicks alone."""
    recent.clear()
    add(recent, clicks)
    return hot_marts.rows(recent, mart(snapshot)).rows


def bursts(recent: RecentClicks, seconds: Sequence[float], snapshot: dt.datetime = LATER) -> list[tuple[Any, ...]]:
    """window_start, window_end, click_count, severity of one session's clicks in five minutes, by time."""
    moments = [(second, number) for number, second in enumerate(seconds)]
    rows = findings(recent, "clicks_5m", moments, snapshot)
    return [(start, end, count, severity) for start, end, count, _, _, severity in rows]


def findings(
    recent: RecentClicks, rule: str, moments: Sequence[tuple[float, int]], snapshot: dt.datetime = LATER
) -> list[tuple[Any, ...]]:
    """window_start, window_end, click_count, metric_value, threshold, severity of clicks (second, document)."""
    clicks = [click(at(second), document_id=document) for second, document in moments]
    found = collected(recent, hot_marts.anomaly_sessions, clicks, snapshot)
    return sorted((row[2:] for row in found if row[1] == rule), key=lambda row: row[1])


@pytest.mark.parametrize(
    ("newest", "snapshot"), [(at(0), at(60)), (at(0.001), at(60)), (at(59.999), at(60)), (at(60), at(120))]
)
def test_a_snapshot_is_the_end_of_the_newest_minute(newest: dt.datetime, snapshot: dt.datetime) -> None:
    assert hot_marts.snapshot_of(newest) == snapshot


def test_top_documents_by_clicks_then_sessions_then_id(recent: RecentClicks) -> None:
    clicks = [click(at(-10), "a", 5), click(at(-9), "b", 5), click(at(-8), "a", 4), click(at(-7), "a", 4)]
    clicks += [click(at(-number), "a", document) for number, document in enumerate(range(30, 9, -1), start=20)]
    found = collected(recent, hot_marts.top_docs_1h, clicks, NOON)
    assert [row[:3] for row in found[:4]] == [(NOON, 1, 5), (NOON, 2, 4), (NOON, 3, 10), (NOON, 4, 11)]
    assert len(found) == 20
    assert found[0][3:] == ("T", 2, 2, at(-3600), NOON)


def test_the_hour_has_its_start_and_not_its_end(recent: RecentClicks) -> None:
    clicks = [click(at(-3600.001), document_id=1), click(at(-3600), document_id=2), click(at(0), document_id=3)]
    assert [row[2] for row in collected(recent, hot_marts.top_docs_1h, clicks, NOON)] == [2]
    clicks += [click(at(0, days=-1), document_id=4), click(at(-0.001, days=-1), document_id=5)]
    assert [row[2] for row in collected(recent, hot_marts.top_docs_24h, clicks, NOON)] == [1, 2, 4]


def test_trend_against_the_day_before(recent: RecentClicks) -> None:
    clicks = [click(at(-number), f"s{number % 2}", clinical_areas=["Surgery"]) for number in range(1, 1002)]
    clicks += [click(at(-1, days=-1), clinical_areas=["Surgery"]), click(at(-1, days=-2.5), clinical_areas=["Urology"])]
    clicks += [click(at(0, days=-1)), click(at(-5, days=-1), "x", clinical_areas=["Dentistry"])]
    found = sorted(collected(recent, hot_marts.clinical_trend_24h, clicks, NOON))
    assert found == [
        (NOON, "Dentistry", 0, 0, -100.0, 1, False, 0.0),
        (NOON, "Surgery", 1001, 2, 100_000.0, 1, False, 1001 / 1002),
        (NOON, "Unknown", 1, 1, None, 0, True, 1 / 1002),
    ]


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ([*range(49)], []),
        ([*range(50)], [(at(-251), at(49), 50, "WARNING")]),
        ([*range(100)], [(at(-251), at(49), 50, "WARNING"), (at(-201), at(99), 100, "CRITICAL")]),
        ([0, *range(251, 300)], [(at(-1), at(299), 50, "WARNING")]),  # all within five minutes
        ([0, *range(252, 301)], []),  # the first lies five minutes before the last
    ],
)
def test_burst_by_its_clicks_in_any_five_minutes(
    recent: RecentClicks, seconds: list[float], found: list[tuple[Any, ...]]
) -> None:
    assert bursts(recent, seconds) == found


def test_a_burst_that_wavers_around_the_threshold_is_one(recent: RecentClicks) -> None:
    steady = [6.05 * number for number in range(200)]  # 49 or 50 clicks in five minutes
    assert len(bursts(recent, steady)) == 1


def test_a_session_has_a_second_burst_after_a_pause(recent: RecentClicks) -> None:
    assert [row[3] for row in bursts(recent, [*range(50), *range(1000, 1050)])] == ["WARNING", "WARNING"]


def test_clicks_of_one_millisecond_are_one_critical_burst(recent: RecentClicks) -> None:
    assert bursts(recent, [0] * 120) == [(at(-300), at(0), 120, "CRITICAL")]


def test_a_burst_cut_by_the_horizon_does_not_begin_there(recent: RecentClicks) -> None:
    seen = [*range(300, 600)]  # of a burst that began before the 48 hours
    assert bursts(recent, seen, snapshot=at(300, days=2)) == []


def test_steady_gaps_are_found_once_a_visit_and_level(recent: RecentClicks) -> None:
    wavering = [0.0]
    gaps = [9.5 + number % 2 for number in range(20)] + [10.0] * 12  # a variation of 0.05, then none
    for gap in [*gaps, 100, *gaps]:
        wavering.append(wavering[-1] + gap)
    (warning, critical) = findings(recent, "steady_gaps", [(second, number) for number, second in enumerate(wavering)])
    assert warning[:3] == (at(0), at(wavering[10]), 11)
    assert warning[3:] == (pytest.approx(0.05), 0.1, "WARNING")
    assert critical[2] == 11
    assert critical[3] < 0.03
    assert critical[4:] == (0.03, "CRITICAL")


def test_long_activity_counts_from_the_visits_start(recent: RecentClicks) -> None:
    moments = [(n * 1800 - 3 * 86_400 / 2, n) for n in range(18)]
    start = moments[0][0]
    assert findings(recent, "long_activity", moments) == [
        (at(start), at(start + 8 * 1800), 9, 4.0, 4.0, "WARNING"),
        (at(start), at(start + 16 * 1800), 17, 8.0, 8.0, "CRITICAL"),
    ]
    paused = [(second + (1 if number > 5 else 0), number) for second, number in moments]
    assert findings(recent, "long_activity", paused) == [
        (at(paused[6][0]), at(paused[14][0]), 9, 4.0, 4.0, "WARNING"),
    ]


def test_ten_clicks_on_one_document_are_an_anomaly_and_clicks_on_others_do_not_count(recent: RecentClicks) -> None:
    others = [(-300 + number * 7.5, 100 + number) for number in range(20)]
    same = [(-400 + number * 20, 1) for number in range(10)]
    assert findings(recent, "same_document_10m", [*others, *same]) == [
        (at(-220 - 600), at(-220), 10, 10.0, 10.0, "WARNING")
    ]
    assert findings(recent, "same_document_10m", [*others, *same[1:]]) == []


def test_only_what_a_batch_touches_is_due(recent: RecentClicks) -> None:
    add(recent, [click(at(0), "a"), click(at(1), "b"), click(at(60), "c"), click(at(120), "a")])
    assert len(hot_marts.compute(recent, at(180))[TRAFFIC_MINUTE].rows) == 3
    recent.clear_touched()
    add(recent, [click(at(2), "b"), click(at(60), "c")])  # the second one is known
    assert hot_marts.compute(recent, at(180))[TRAFFIC_MINUTE].rows == [(at(0), 3, 2, 1, 0, False)]


def test_a_click_dated_ahead_counts_once_its_time_has_come(recent: RecentClicks) -> None:
    add(recent, [click(at(0), "a"), click(at(600), "b")])
    recent.clear_touched()
    add(recent, [click(at(60), "c")])
    assert hot_marts.compute(recent, at(120))[TRAFFIC_MINUTE].rows == [(at(60), 1, 1, 1, 0, False)]
    recent.clear_touched()
    recent.touch(micros(at(120)), micros(at(660)))
    assert hot_marts.compute(recent, at(660))[TRAFFIC_MINUTE].rows == [(at(600), 1, 1, 1, 0, False)]


def test_more_clicks_than_memory_holds_are_an_error_that_names_the_option() -> None:
    many = [click(at(number), f"s{number}", title="T" * 1000) for number in range(30_000)]
    with RecentClicks(memory_mb=20) as recent:
        add(recent, many)
        with pytest.raises(JobError, match=r"more than 20 MB: raise --memory-mb"):
            hot_marts.compute(recent, at(len(many)))


def test_clicks_older_than_the_horizon_are_dropped(recent: RecentClicks) -> None:
    add(recent, [click(at(0), "a"), click(at(1), "b")])
    recent.drop_before(micros(at(1)))
    assert recent.sql("SELECT session_id FROM recent").fetchall() == [("b",)]
