"""Windows, ranks, trends and bursts of the hot tables, on rows."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests.clicks import NOON, at, click, frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def collected(found: "DataFrame") -> list[tuple[Any, ...]]:
    """Rows with timestamps in UTC."""
    return [
        tuple(cell.astimezone(dt.UTC) if isinstance(cell, dt.datetime) else cell for cell in row)
        for row in found.collect()
    ]


def bursts(spark: "SparkSession", seconds: Sequence[float], snapshot: dt.datetime = NOON) -> list[tuple[Any, ...]]:
    """window_start, window_end, click_count, severity of one session's clicks in five minutes, by time."""
    from jobs.spark.hot_marts import anomaly_sessions

    clicks = [click(at(second), document_id=number) for number, second in enumerate(seconds)]
    found = anomaly_sessions(frame(spark, clicks), snapshot).where("rule_id = 'clicks_5m'").orderBy("window_end")
    return collected(found.select("window_start", "window_end", "click_count", "severity"))


def findings(spark: "SparkSession", rule: str, moments: Sequence[tuple[float, int]]) -> list[tuple[Any, ...]]:
    """window_start, window_end, click_count, metric_value, threshold, severity of clicks (second, document)."""
    from jobs.spark.hot_marts import anomaly_sessions

    clicks = [click(at(second), document_id=document) for second, document in moments]
    found = anomaly_sessions(frame(spark, clicks), NOON).where(f"rule_id = '{rule}'").orderBy("window_end")
    return [row[2:] for row in collected(found)]


@pytest.mark.parametrize(
    ("newest", "snapshot"), [(at(0), at(60)), (at(0.001), at(60)), (at(59.999), at(60)), (at(60), at(120))]
)
def test_a_snapshot_is_the_end_of_the_newest_minute(newest: dt.datetime, snapshot: dt.datetime) -> None:
    from jobs.spark.hot_marts import snapshot_of

    assert snapshot_of(round(newest.timestamp() * 1000)) == snapshot


def test_top_documents_by_clicks_then_sessions_then_id(spark: "SparkSession") -> None:
    from jobs.spark.hot_marts import top_docs_1h

    clicks = [click(at(-10), "a", 5), click(at(-9), "b", 5), click(at(-8), "a", 4), click(at(-7), "a", 4)]
    clicks += [click(at(-number), "a", document) for number, document in enumerate(range(30, 9, -1), start=20)]
    found = collected(top_docs_1h(frame(spark, clicks), NOON).orderBy("rank"))
    assert [row[:3] for row in found[:4]] == [(NOON, 1, 5), (NOON, 2, 4), (NOON, 3, 10), (NOON, 4, 11)]
    assert len(found) == 20
    assert found[0][3:] == ("T", 2, 2, at(-3600), NOON)


def test_the_hour_has_its_start_and_not_its_end(spark: "SparkSession") -> None:
    from jobs.spark.hot_marts import top_docs_1h

    clicks = [click(at(-3600.001), document_id=1), click(at(-3600), document_id=2), click(at(0), document_id=3)]
    assert [row[2] for row in collected(top_docs_1h(frame(spark, clicks), NOON))] == [2]


def test_trend_against_the_day_before(spark: "SparkSession") -> None:
    from jobs.spark.hot_marts import clinical_trend_24h

    clicks = [click(at(-number), f"s{number % 2}", clinical_areas=["Surgery"]) for number in range(1, 1002)]
    clicks += [click(at(-1, days=-1), clinical_areas=["Surgery"]), click(at(-1, days=-2.5), clinical_areas=["Urology"])]
    clicks += [click(at(0, days=-1)), click(at(-5, days=-1), "x", clinical_areas=["Dentistry"])]
    found = collected(clinical_trend_24h(frame(spark, clicks), NOON).orderBy("clinical_area"))
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
    spark: "SparkSession", seconds: list[float], found: list[tuple[Any, ...]]
) -> None:
    assert bursts(spark, seconds) == found


def test_a_burst_that_wavers_around_the_threshold_is_one(spark: "SparkSession") -> None:
    steady = [6.05 * number for number in range(200)]  # 49 or 50 clicks in five minutes
    assert len(bursts(spark, steady)) == 1


def test_a_session_has_a_second_burst_after_a_pause(spark: "SparkSession") -> None:
    assert [row[3] for row in bursts(spark, [*range(50), *range(1000, 1050)])] == ["WARNING", "WARNING"]


def test_clicks_of_one_millisecond_are_one_critical_burst(spark: "SparkSession") -> None:
    assert bursts(spark, [0] * 120) == [(at(-300), at(0), 120, "CRITICAL")]


def test_a_burst_cut_by_the_horizon_does_not_begin_there(spark: "SparkSession") -> None:
    seen = [*range(300, 600)]  # of a burst that began before the 48 hours
    assert bursts(spark, seen, snapshot=at(300, days=2)) == []


def test_steady_gaps_are_found_once_a_visit_and_level(spark: "SparkSession") -> None:
    wavering = [0.0]
    gaps = [9.5 + number % 2 for number in range(20)] + [10.0] * 12  # a variation of 0.05, then none
    for gap in [*gaps, 100, *gaps]:
        wavering.append(wavering[-1] + gap)
    (warning, critical) = findings(spark, "steady_gaps", [(second, number) for number, second in enumerate(wavering)])
    assert warning[:3] == (at(0), at(wavering[10]), 11)
    assert warning[3:] == (pytest.approx(0.05), 0.1, "WARNING")
    assert critical[2] == 11
    assert critical[3] < 0.03
    assert critical[4:] == (0.03, "CRITICAL")


def test_long_activity_counts_from_the_visits_start(spark: "SparkSession") -> None:
    moments = [(n * 1800 - 3 * 86_400 / 2, n) for n in range(18)]
    start = moments[0][0]
    assert findings(spark, "long_activity", moments) == [
        (at(start), at(start + 8 * 1800), 9, 4.0, 4.0, "WARNING"),
        (at(start), at(start + 16 * 1800), 17, 8.0, 8.0, "CRITICAL"),
    ]
    paused = [(second + (1 if number > 5 else 0), number) for second, number in moments]
    assert findings(spark, "long_activity", paused) == [
        (at(paused[6][0]), at(paused[14][0]), 9, 4.0, 4.0, "WARNING"),
    ]


def test_the_same_document_and_not_others(spark: "SparkSession") -> None:
    others = [(-300 + number * 7.5, 100 + number) for number in range(20)]
    same = [(-400 + number * 20, 1) for number in range(10)]
    assert findings(spark, "same_document_10m", [*others, *same]) == [
        (at(-220 - 600), at(-220), 10, 10.0, 10.0, "WARNING")
    ]
    assert findings(spark, "same_document_10m", [*others, *same[1:]]) == []


def test_only_what_a_batch_touches_is_due(spark: "SparkSession") -> None:
    from jobs.spark.hot_marts import compute
    from jobs.spark.tables import TRAFFIC_MINUTE

    recent = frame(spark, [click(at(0), "a"), click(at(1), "b"), click(at(60), "c"), click(at(120), "a")])
    batch = frame(spark, [click(at(1), "b")])
    touched = compute(recent, batch, at(180))[TRAFFIC_MINUTE]
    assert collected(touched) == [(at(0), 2, 2, 1, 0, False)]
    assert compute(recent, None, at(180))[TRAFFIC_MINUTE].count() == 3
