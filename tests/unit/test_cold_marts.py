"""Each column of the cold tables, on rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tests.clicks import at, click, frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HALF_HOUR = 1800


def rows(spark: "SparkSession", mart: str, clicks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a mart, by its key."""
    from jobs.spark.cold_marts import MARTS, once

    found = MARTS[mart](once(frame(spark, clicks)))
    return [row.asDict() for row in found.orderBy(*found.columns[:2]).collect()]


def columns(found: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found]


def test_a_visit_ends_with_a_pause_of_more_than_30_minutes(spark: "SparkSession") -> None:
    clicks = [click(at(0)), click(at(HALF_HOUR)), click(at(2 * HALF_HOUR + 0.001)), click(at(0), "other")]
    found = rows(spark, "session_analysis", clicks)
    visits = columns(found, "session_id", "visit_no", "click_count", "session_duration_sec")
    assert visits == [("other", 1, 1, 0.0), ("s", 1, 2, 1800.0), ("s", 2, 1, 0.0)]


def test_a_visit_is_not_cut_at_midnight(spark: "SparkSession") -> None:
    before_midnight = 12 * 3600 - 60
    found = rows(
        spark, "session_analysis", [click(at(before_midnight + 120), document_id=2), click(at(before_midnight))]
    )
    assert columns(found, "event_date", "click_count", "unique_docs", "session_duration_sec") == [
        (at().date(), 2, 2, 120.0)
    ]


def test_an_event_id_counts_once(spark: "SparkSession") -> None:
    clicks = [click(event_id="e", clinical_areas=["Surgery"])] * 2
    assert columns(rows(spark, "session_analysis", clicks), "click_count") == [(1,)]
    assert columns(rows(spark, "daily_traffic", clicks), "total_events") == [(1,)]
    assert columns(rows(spark, "clinical_areas", clicks), "search_count") == [(1,)]
    assert columns(rows(spark, "popular_documents", clicks), "view_count") == [(1,)]


@pytest.mark.parametrize(
    ("hours", "peak"), [((3, 3, 5), 3), ((5, 3), 3), ((0, 23), 0), ((23, 23, 0), 23), ((7, 9, 9, 7), 7)]
)
def test_peak_hour_is_the_earliest_of_several(spark: "SparkSession", hours: tuple[int, ...], peak: int) -> None:
    clicks = [click(at((hour - 12) * 3600 + number)) for number, hour in enumerate(hours)]
    assert columns(rows(spark, "daily_traffic", clicks), "total_events", "peak_hour") == [(len(hours), peak)]


def test_days_are_counted_each_on_its_own(spark: "SparkSession") -> None:
    clicks = [click(at(0), "a", 1), click(at(1), "b", 1), click(at(2), "b", 2), click(at(days=1), "a", 2)]
    found = rows(spark, "daily_traffic", clicks)
    assert columns(found, "event_date", "total_events", "unique_sessions", "unique_documents") == [
        (at().date(), 3, 2, 2),
        (at(days=1).date(), 1, 1, 1),
    ]


def test_a_click_counts_in_each_of_its_areas_or_in_unknown(spark: "SparkSession") -> None:
    clicks = [
        click(at(0), "a", clinical_areas=["Surgery", "Other: magic"]),
        click(at(1), "a", clinical_areas=["Surgery"]),
        click(at(2), "b", clinical_areas=[]),
        click(at(3), "b", clinical_areas=None),
    ]
    found = rows(spark, "clinical_areas", clicks)
    assert columns(found, "clinical_area", "search_count", "unique_sessions") == [
        ("Other: magic", 1, 1),
        ("Surgery", 2, 1),
        ("Unknown", 2, 1),
    ]


@pytest.mark.parametrize(
    ("titles", "title"),
    [
        (("old", "new"), "new"),
        (("old", None), "old"),
        (("old", ""), "old"),
        ((None, None), None),
        (("x" * 5000,), "x" * 5000),
    ],
)
def test_title_is_the_latest_that_is_not_empty(
    spark: "SparkSession", titles: tuple[str | None, ...], title: str | None
) -> None:
    clicks = [click(at(number), title=text) for number, text in enumerate(titles)]
    found = rows(spark, "popular_documents", clicks[::-1])
    assert columns(found, "document_id", "title", "view_count", "unique_sessions") == [(1, title, len(titles), 1)]


def test_titles_of_one_moment_are_told_apart_by_event_id(spark: "SparkSession") -> None:
    clicks = [click(title="first", event_id="2"), click(title="second", event_id="1")]
    assert columns(rows(spark, "popular_documents", clicks), "title") == [("first",)]
