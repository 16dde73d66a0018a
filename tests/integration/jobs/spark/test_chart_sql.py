"""What the dashboards' charts ask of PostgreSQL: on no data, and where a number needs a rule."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest

from jobs.spark.migrations import migrate
from tests.chart_sql import of_charts
from tests.clicks import at
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)

pytestmark = pytest.mark.integration
CHARTS = of_charts()


@pytest.fixture(autouse=True)
def marts(request: pytest.FixtureRequest) -> None:
    """Empty ones."""
    request.getfixturevalue("database")
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)


def insert(table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Rows of these columns."""
    places = ", ".join(["%s"] * len(columns.split(",")))
    with as_owner() as connection, connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})".encode(), rows)


def minutes(clicks: dict[dt.datetime, int]) -> None:
    """So many clicks in each minute."""
    columns = "event_minute, total_clicks, unique_sessions, unique_docs"
    insert("mart_realtime_traffic_minute", columns, [(minute, count, 1, 1) for minute, count in clicks.items()])


def test_every_chart_is_empty_on_empty_tables() -> None:
    found = {name: rows for name, query in CHARTS.items() if (rows := rows_of(query))}
    assert found == {"now_anomalous": [(0,)], "now_newest": [(None,)]}


def test_hours_without_clicks_are_zero_and_before_the_log_nothing_is_known() -> None:
    minutes({at(0): 3, at(-3540): 4, at(-3600): 5, at(-3 * 3600): 1})
    hours = rows_of(CHARTS["now_hour"])
    assert sorted(hours)[-5:] == [
        (at(-4 * 3600), None),
        (at(-3 * 3600), None),
        (at(-2 * 3600), 0),
        (at(-3600), 5),
        (at(0), 7),
    ]
    assert {clicks for _, clicks in rows_of(CHARTS["now_day"])} == {None}, "no 24 hours are known"


def test_a_day_is_compared_with_the_one_before() -> None:
    minutes({at(-3600 * hour): 1 for hour in range(60)})
    assert {clicks for _, clicks in rows_of(CHARTS["now_hour"])} == {1}
    days = rows_of(CHARTS["now_day"])
    assert len(days) == 25
    assert {clicks for _, clicks in days} == {24}


def test_quarters_are_whole_and_zero_without_clicks() -> None:
    minutes({at(days=-2): 1, at(days=-1): 5, at(-1800): 1, at(-901): 2, at(-900): 3, at(0): 9})
    quarters = sorted(rows_of(CHARTS["now_traffic"]))
    assert len(quarters) == 100
    hour_ago = [(at(-3600 + 900 * number, days=-1), 0, None) for number in range(4)]
    assert quarters[:5] == [*hour_ago, (at(days=-1), 5, 1)]
    assert quarters[-3:] == [(at(-2700), 0, 0), (at(-1800), 3, 0), (at(-900), 3, 0)]


def test_a_session_is_one_row_with_all_reasons() -> None:
    minutes({at(0): 1})
    columns = "session_id, rule_id, window_start, window_end, click_count, severity, metric_value, threshold"
    day_ago = at(60, days=-1)
    insert(
        "mart_realtime_anomaly_sessions",
        columns,
        [
            ("s", "clicks_5m", at(-300), at(-200), 50, "WARNING", 50, 50),
            ("s", "clicks_5m", at(-300), at(-60), 120, "CRITICAL", 120, 100),
            ("s", "same_document_10m", at(-300), at(-100), 31, "WARNING", 31, 10),
            ("before", "clicks_1m", day_ago - dt.timedelta(minutes=1), day_ago, 20, "WARNING", 20, 20),
        ],
    )
    assert rows_of(CHARTS["now_anomalies"]) == [
        (
            f"{at(-300):%a %H:%M}",
            120,
            "critical",
            "120 clicks in 5 minutes; one document 31 times in 10 minutes",
            "4 min",
            "s",
        )
    ]
    assert rows_of(CHARTS["now_anomalous"]) == [(1,)]


def test_documents_that_two_visitors_read_first_of_the_hour_then_of_the_day() -> None:
    columns = "snapshot_ts, rank, document_id, title, click_count, unique_sessions, rank_delta"
    day = [(at(0), 1, 7, "Seven", 9, 4, 2), (at(0), 2, 8, None, 8, 2, -1), (at(0), 3, 5, "Five", 8, 2, 0)]
    insert(
        "mart_realtime_top_docs_24h", columns, [*day, (at(0), 4, 6, "Six", 8, 1, 1), (at(-60), 1, 9, "Old", 9, 9, 0)]
    )
    insert("mart_realtime_top_docs_1h", columns, [(at(0), 1, 6, "Six", 3, 1, 1), (at(0), 2, 5, "Five", 2, 2, None)])
    assert rows_of(CHARTS["now_documents"]) == [
        (1, "Five", 2, 2, "new", "hour"),
        (2, "Seven", 9, 4, "▲ 2", "24 hours"),
        (3, "document 8", 8, 2, "▼ 1", "24 hours"),
    ]


def test_a_day_is_compared_with_eight_same_weekdays_and_today_is_left_out() -> None:
    today = dt.datetime.now(dt.UTC).date()
    weeks = [(today - dt.timedelta(days=7 * week), clicks) for week, clicks in enumerate((1, 400, *[100, 104] * 4), 0)]
    columns = "event_date, total_events, unique_sessions, unique_documents, peak_hour"
    insert("daily_traffic", columns, [(day, clicks, 1, 1, 1) for day, clicks in weeks])
    assert max(rows_of(CHARTS["report_traffic (2)"])) == (today - dt.timedelta(days=7), 400)
    assert {unusual for _, unusual in rows_of(CHARTS["report_traffic (2)"])} == {400, None}
    assert max(rows_of(CHARTS["report_traffic"])) == (today - dt.timedelta(days=7), 400, 100)


def test_days_are_trusted_when_hot_and_cold_agree_and_the_log_is_there() -> None:
    today = dt.datetime.now(dt.UTC).date()
    columns = "event_date, total_events, unique_sessions, unique_documents, peak_hour, quarantined_count"
    days = [(today - dt.timedelta(days=ago), 100, 1, 1, 1, ago) for ago in (1, 2, 4)]
    insert("daily_traffic", columns, days)
    noon = dt.datetime.combine(today, dt.time(12), dt.UTC)
    minutes({noon - dt.timedelta(days=ago): count for ago, count in ((1, 101), (2, 102), (4, 50))})
    assert [(clicks, quarantined, live) for _, clicks, quarantined, _, _, live in rows_of(CHARTS["report_trust"])] == [
        ("100", "1", "+1.0%"),
        ("100", "2", "+2.0%  ▲ over 1%"),
        ("▲ none", "", "the log of this day is missing"),
        ("100", "4", "not compared"),
    ]


def test_areas_by_clicks_compared_on_days_that_have_a_week_before_and_unknown_last() -> None:
    today = dt.datetime.now(dt.UTC).date()
    ago = {days: today - dt.timedelta(days=days) for days in (1, 2, 8)}
    columns = "event_date, total_events, unique_sessions, unique_documents, peak_hour"
    insert("daily_traffic", columns, [(day, 1, 1, 1, 1) for day in ago.values()])
    rows = [(ago[1], "Surgery", 30), (ago[2], "Surgery", 50), (ago[8], "Surgery", 20), (ago[8], "Urology", 5)]
    rows += [(ago[2], "Dentistry", 20), (ago[2], "Unknown", 100)]
    columns = "event_date, clinical_area, weighted_clicks, search_count, unique_sessions"
    insert("clinical_areas", columns, [(*row, 1, 1) for row in rows])
    days = of_charts((str(ago[2]), str(today)))
    assert rows_of(days["report_areas"]) == [
        ("Surgery", 80, 0.4, "+50%"),
        ("Dentistry", 20, 0.1, "no base"),
        ("Urology", 0, 0.0, "-100%"),
        ("Unknown", 100, 0.5, "no base"),
    ]
