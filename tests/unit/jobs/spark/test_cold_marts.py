"""Each column of the cold tables, on rows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from jobs.spark import month_parts
from jobs.spark.anomaly_rules import RULES
from jobs.spark.cold_marts import BEHIND, BY_DAY, DAYS_OF_ALL, SESSIONS, VISITED
from jobs.spark.cold_writer import BEHIND_COLUMNS, VISITED_COLUMNS, behind_of, days_of, visits_of
from jobs.spark.columns import schema
from jobs.spark.columns_cold import COLD, SESSION_ANALYSIS
from jobs.spark.month_parts import count_by_month, packed
from jobs.spark.partition_sql import MART, batches_of, by_partition
from jobs.spark.tables import CLICKS_COLUMNS, PLACE, QUARANTINE_SCHEMA
from tests.clicks import at, click, frame
from tests.one_task import found_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HALF_HOUR = 1800
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TYPES = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "timestamp": pa.int64(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "array<string>": pa.list_(pa.string()),
    "array<int>": pa.list_(pa.int32()),
    "array<bigint>": pa.list_(pa.int64()),
}


def arrived(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.Table:
    """Rows as a task gets them: moments in microseconds, and null what a row does not say."""

    def cell(value: Any) -> Any:
        return (value - EPOCH) // dt.timedelta(microseconds=1) if isinstance(value, dt.datetime) else value

    return pa.table(
        {name: pa.array([cell(row.get(name)) for row in rows], TYPES[kind]) for name, kind in columns.items()}
    )


PLACES = {name: CLICKS_COLUMNS[name] for name in PLACE} | {"is_bad": "boolean"}


def places(clicks: Iterable[dict[str, Any]], bad: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """As places_of makes them with Spark."""
    starts = (one | {"is_bad": False} for one in clicks if one.get("offset") == 0)
    return [*starts, *(one | {"is_bad": True} for one in bad)]


def rows(mart: str, clicks: Sequence[dict[str, Any]], bad: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """The rows of a mart, by its key. Without Spark, which takes a second for each: how it is asked, one test shows."""
    by_session = arrived(clicks, CLICKS_COLUMNS)
    visits = found_in(by_session, SESSIONS, schema(SESSION_ANALYSIS))
    if mart == SESSION_ANALYSIS.name:
        return in_order(mart, visits.to_pylist())
    small = {
        "visited": found_in(visits, VISITED, VISITED_COLUMNS),
        "behind": found_in(arrived(places(clicks, bad), PLACES), BEHIND, BEHIND_COLUMNS),
    }
    by_day = by_session.append_column("is_earlier", pa.array([False] * len(clicks)))
    found = found_in(by_day, DAYS_OF_ALL, {MART: "string", **schema(*BY_DAY)}, small)
    return in_order(mart, [row for row in found.to_pylist() if row[MART] == mart])


def rows_by_spark(spark: SparkSession, clicks: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of the marts by day, as tasks of a month each compute them."""
    curated = frame(spark, clicks)
    behind = behind_of(curated, spark.createDataFrame([], QUARANTINE_SCHEMA))
    found = days_of(curated, packed(count_by_month(curated), 1), visits_of(curated), behind)
    by_table = {
        table.name: by_partition(batches_of(found, table.name), {"rows": "FROM input"}, schema(table))
        for table in BY_DAY
    }
    return {name: in_order(name, rows.toArrow().to_pylist()) for name, rows in by_table.items()}


def in_order(mart: str, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    (table,) = (table for table in COLD if table.name == mart)
    return sorted(found, key=lambda row: [row[name] for name in table.key])


def columns(found: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found]


def test_a_visit_ends_with_a_pause_of_more_than_30_minutes() -> None:
    clicks = [click(at(0)), click(at(HALF_HOUR)), click(at(2 * HALF_HOUR + 0.001)), click(at(0), "other")]
    found = rows("session_analysis", clicks)
    visits = columns(found, "session_id", "visit_no", "click_count", "session_duration_sec")
    assert visits == [("other", 1, 1, 0.0), ("s", 1, 2, 1800.0), ("s", 2, 1, 0.0)]


def test_a_visit_is_not_cut_at_midnight() -> None:
    before_midnight = 12 * 3600 - 60
    found = rows("session_analysis", [click(at(before_midnight + 120), document_id=2), click(at(before_midnight))])
    assert columns(found, "event_date", "click_count", "unique_docs", "session_duration_sec") == [
        (at().date(), 2, 2, 120.0)
    ]


def test_an_event_id_counts_once() -> None:
    clicks = [click(event_id="e", clinical_areas=["Surgery"])] * 2
    assert columns(rows("session_analysis", clicks), "click_count") == [(1,)]
    assert columns(rows("daily_traffic", clicks), "total_events") == [(1,)]
    assert columns(rows("clinical_areas", clicks), "search_count") == [(1,)]
    assert columns(rows("popular_documents", clicks), "view_count") == [(1,)]


def test_peak_hour_is_the_earliest_of_several() -> None:
    days = (((3, 3, 5), 3), ((5, 3), 3), ((0, 23), 0), ((23, 23, 0), 23), ((7, 9, 9, 7), 7))
    clicks = [
        click(at((hour - 12) * 3600 + number, days=day))
        for day, (hours, _) in enumerate(days)
        for number, hour in enumerate(hours)
    ]
    found = rows("daily_traffic", clicks)
    assert columns(found, "total_events", "peak_hour") == [(len(hours), peak) for hours, peak in days]


def test_each_day_is_counted_on_its_own() -> None:
    clicks = [click(at(0), "a", 1), click(at(1), "b", 1), click(at(2), "b", 2), click(at(days=1), "a", 2)]
    found = rows("daily_traffic", clicks)
    assert columns(found, "event_date", "total_events", "unique_sessions", "unique_documents") == [
        (at().date(), 3, 2, 2),
        (at(days=1).date(), 1, 1, 1),
    ]


def test_a_click_counts_in_each_of_its_areas_or_in_unknown() -> None:
    clicks = [
        click(at(0), "a", clinical_areas=["Surgery", "Other: magic"]),
        click(at(1), "a", clinical_areas=["Surgery"]),
        click(at(2), "b", clinical_areas=[]),
        click(at(3), "b", clinical_areas=None),
    ]
    found = rows("clinical_areas", clicks)
    assert columns(found, "clinical_area", "search_count", "unique_sessions") == [
        ("Other: magic", 1, 1),
        ("Surgery", 2, 1),
        ("Unknown", 2, 1),
    ]


def test_title_is_the_latest_that_is_not_empty() -> None:
    documents: dict[tuple[str | None, ...], str | None] = {
        ("old", "new"): "new",
        ("old", None): "old",
        ("old", ""): "old",
        (None, None): None,
        ("x" * 5000,): "x" * 5000,
    }
    clicks = [
        click(at(number), document_id=document, title=title)
        for document, titles in enumerate(documents)
        for number, title in enumerate(titles)
    ]
    found = rows("popular_documents", clicks[::-1])
    assert columns(found, "document_id", "title", "view_count", "unique_sessions") == [
        (document, title, len(titles), 1) for document, (titles, title) in enumerate(documents.items())
    ]


def test_titles_of_one_moment_are_told_apart_by_event_id() -> None:
    clicks = [click(title="first", event_id="2"), click(title="second", event_id="1")]
    assert columns(rows("popular_documents", clicks), "title") == [("first",)]


def test_a_search_is_a_run_of_clicks_with_one_query() -> None:
    queries = ["a", "a", None, "a", "b", None, None, "b", "c"]
    clicks = [click(at(number), query=query) for number, query in enumerate(queries)]
    clicks += [click(at(2 * HALF_HOUR), query="d"), click(at(0), "other"), click(at(1), "other")]
    found = rows("session_analysis", clicks)
    names = ("session_id", "visit_no", "query_count", "search_count", "reformulation_count")
    assert columns(found, *names) == [("other", 1, 0, 1, 0), ("s", 1, 3, 7, 2), ("s", 2, 1, 1, 0)]


def test_ranks_of_a_visit_are_of_the_clicks_and_searches_whose_page_is_known() -> None:
    ranks = [("a", 4), ("a", 2), ("b", None), ("c", 1), ("d", None)]
    clicks = [click(at(number), query=query, click_rank=rank) for number, (query, rank) in enumerate(ranks)]
    clicks += [click(at(0), "unknown")]
    found = rows("session_analysis", clicks)
    assert columns(found, "avg_click_rank", "mrr") == [(7 / 3, (1 / 2 + 1) / 2), (None, None)]


def test_gaps_are_those_inside_a_visit() -> None:
    seconds = (0, 10, 13, 17, 5000, 5001, 5007)
    found = rows("session_analysis", [*(click(at(second)) for second in seconds), click(at(0), "t")])
    assert columns(found, "median_gap_sec", "is_bounce") == [(4.0, False), (3.5, False), (None, True)]


def test_the_top_area_is_the_most_frequent_one_and_never_unknown() -> None:
    named: dict[str, list[list[str] | None]] = {
        "a": [["Urology", "Surgery"], ["Surgery"], []],
        "b": [["Urology", "Surgery"]],
        "c": [[], None],
    }
    clicks = [click(at(n), s, clinical_areas=one) for s, areas in named.items() for n, one in enumerate(areas)]
    found = rows("session_analysis", clicks)
    assert columns(found, "distinct_areas", "top_area") == [(2, "Surgery"), (2, "Surgery"), (0, None)]


def test_a_visit_is_anomalous_when_a_rule_warns() -> None:
    ordinary = [1, 13, 14, 40, 80, 90, 170, 175, 250, 300, 303, 371]  # gaps that are neither many nor the same
    visits: dict[str, tuple[Sequence[float], int]] = {  # moments, and documents in turn
        "clicks_5m": ([n * 6 + n % 7 for n in range(50)], 50),
        "clicks_5m not": ([n * 6.2 + n % 7 for n in range(50)], 50),
        "clicks_1m": ([n * 3 + n % 2 for n in range(20)], 20),
        "clicks_1m not": ([n * 3.2 + n % 2 for n in range(20)], 20),
        "steady_gaps": ([n * 100 for n in range(11)], 11),
        "steady_gaps not": ([*(n * 100 for n in range(10)), 1100], 11),  # the tenth gap is twice as long
        "same_document_10m": ([n * 66 + n % 3 * 2 for n in range(10)], 1),
        "same_document_10m not": ([n * 67 + n % 3 * 20 for n in range(10)], 1),
        "long_activity": ([n * 1800 for n in range(9)], 9),
        "long_activity not": ([n * 1800 - n // 8 for n in range(9)], 9),
        "none": (ordinary, 12),
        "a pause between": ([*(n * 1800 for n in range(5)), *(9001 + n * 1800 for n in range(5))], 10),
    }
    clicks = [
        click(at(second), name, number % documents)
        for name, (seconds, documents) in visits.items()
        for number, second in enumerate(seconds)
    ]
    found = rows("session_analysis", clicks)
    assert {row["session_id"] for row in found if row["is_anomalous"]} == {rule.rule_id for rule in RULES}


def test_a_visit_over_midnight_belongs_to_the_day_on_which_it_began() -> None:
    midnight = 12 * 3600
    clicks = [click(at(midnight - 60)), click(at(midnight + 40), click_rank=3), click(at(midnight + 50), click_rank=1)]
    found = rows("daily_traffic", clicks)
    names = ("total_events", "bounce_rate", "median_duration_sec", "mean_reciprocal_rank", "ctr_at_1", "rank_coverage")
    assert columns(found, *names) == [(1, 0.0, 110.0, None, None, 0.0), (2, None, None, 1.0, 1.0, 1.0)]


def test_durations_are_those_of_visits_of_two_clicks_or_more() -> None:
    clicks = [click(at(0), "bounce"), click(at(5), "bounce too")]
    clicks += [click(at(moment), f"s{last}") for last in (10, 20, 40) for moment in (0, last)]
    found = rows("daily_traffic", [*clicks, click(at(days=1), "alone")])
    names = ("bounce_rate", "median_duration_sec", "p95_duration_sec", "clicks_per_session")
    assert columns(found, *names) == [(2 / 5, 20.0, pytest.approx(38.0), 8 / 5), (1.0, None, None, 1.0)]


def test_shares_of_a_day() -> None:
    asked = [("a", 1), ("a", 5), (None, None), ("b", 2), ("c", None)]
    clicks = [click(at(number), query=query, click_rank=rank) for number, (query, rank) in enumerate(asked)]
    (day,) = columns(
        rows("daily_traffic", clicks),
        *("unique_queries", "no_query_share", "rank_coverage", "ctr_at_1", "mean_reciprocal_rank"),
    )
    assert day == (3, 1 / 5, 3 / 5, 1 / 2, 3 / 4)


def test_a_days_change_is_null_without_a_day_to_compare_with() -> None:
    counts = {0: 4, 1: 5, 7: 2, 9: 3}  # clicks by day
    clicks = [click(at(number, days=day), f"s{number}") for day, count in counts.items() for number in range(count)]
    expected = [(None, None), (25.0, None), (None, -50.0), (None, None)]
    assert columns(rows("daily_traffic", clicks), "dod_pct", "wow_pct") == expected
    week = [None, None, -50.0, None]
    for mart in ("clinical_areas", "popular_documents"):
        assert [row["wow_pct"] for row in rows(mart, clicks)] == week


def test_months_of_two_tasks_are_compared_over_their_border(spark: SparkSession) -> None:
    counts = {-4: 4, -3: 6, 3: 5}  # 30 April, 1 May, 7 May
    clicks = [click(at(number, days=day), f"s{number}") for day, count in counts.items() for number in range(count)]
    clicks += [clicks[0] | {"topic": "again"}]
    found = rows_by_spark(spark, clicks)
    names = ("total_events", "dod_pct", "wow_pct", "duplicate_count")
    assert columns(found["daily_traffic"], *names) == [(4, None, None, 1), (6, 50.0, None, 0), (5, None, 25.0, 0)]
    for mart in ("clinical_areas", "popular_documents"):
        assert columns(found[mart], "unique_sessions", "wow_pct") == [(4, None), (6, None), (5, 25.0)]


def test_months_are_packed_until_they_are_worth_a_task() -> None:
    assert packed({1: 60, 2: 40, 3: 1, 12: 250, 13: 7}, 100) == {1: 0, 2: 0, 3: 1, 12: 2, 13: 3}
    may = month_parts.month_of(at().date())
    assert (month_parts.days_of(may)[0], month_parts.days_of(may)[-1]) == (dt.date(2026, 5, 1), dt.date(2026, 5, 31))
    assert min(month_parts.with_days_before([may], 7)) == dt.date(2026, 4, 24)
    assert len(set(month_parts.with_days_before([may], 7))) == 7 + 31


def test_a_day_is_of_one_part_and_looked_back_at_by_others() -> None:
    may = month_parts.month_of(at().date())
    found = month_parts.days_in_parts({may: 0, may + 1: 0, may + 2: 1, may + 5: 1}, 40).to_pylist()
    of_parts = [[(row["event_date"], row["is_earlier"]) for row in found if row["part"] == part] for part in (0, 1)]
    assert [len(days) for days in of_parts] == [40 + 31 + 30, 40 + 31 + 40 + 31]
    assert [len(dict(days)) for days in of_parts] == [40 + 31 + 30, 40 + 31 + 40 + 31], "each day once"
    own = [{day for day, is_earlier in days if not is_earlier} for days in of_parts]
    assert own[0] == {*month_parts.days_of(may), *month_parts.days_of(may + 1)}
    assert own[1] == {*month_parts.days_of(may + 2), *month_parts.days_of(may + 5)}


def test_time_grows_with_a_sessions_clicks_and_a_clicks_areas_not_with_their_square() -> None:
    def seconds(count: int) -> float:
        session = [click(at(n), query=str(n // 3), click_rank=1, event_id=f"{n:06}", topic="t") for n in range(count)]
        one = click(at(count), clinical_areas=[f"Other: {n}" for n in range(count)], topic="t")
        clicks = arrived([*session, one], CLICKS_COLUMNS)
        started = time.process_time()
        (found,) = found_in(clicks, SESSIONS, schema(SESSION_ANALYSIS)).to_pylist()
        assert (found["click_count"], found["distinct_areas"], found["is_anomalous"]) == (count + 1, count, True)
        return time.process_time() - started

    seconds(10)
    assert seconds(40_000) < 8 * seconds(10_000)  # four times, and not sixteen


def test_the_quality_of_a_day() -> None:
    def came(offset: int, seconds: float, shift_s: float = 0) -> dict[str, Any]:
        sent = {"topic": "t", "partition": 0, "offset": offset, "kafka_ts": at(), "source_ts": at(seconds - shift_s)}
        return click(at(seconds)) | sent

    next_day = 50_000
    late = came(4, 99.999)
    clicks = [came(1, 0), came(2, 700), came(3, 100), late, late | {"offset": 9}, came(7, next_day)]
    clicks += [came(11, 43_000), came(12, 42_000), came(15, 1, shift_s=86_400)]  # the last one of another replay
    # Behind nothing; two behind the late one; behind the next day's; the late one's copy; two, and one of this day's.
    offsets = (0, 5, 6, 8, 10, 13, 14, 16)
    bad = [{"topic": "t", "partition": 0, "offset": offset, "kafka_ts": at(), "shift_ms": 0} for offset in offsets]
    found = rows("daily_traffic", clicks, [*bad, bad[1] | {"partition": 1}])
    names = ("total_events", "duplicate_count", "late_count", "quarantined_count")
    assert columns(found, *names) == [(7, 1, 2, 6), (1, 0, 0, 1)]


def test_the_same_offset_of_a_recreated_topic_is_another_place() -> None:
    def came(offset: int, sent_at: dt.datetime) -> dict[str, Any]:
        return {"topic": "t", "partition": 0, "offset": offset, "kafka_ts": sent_at}

    def sent(seconds: float, event_id: str, offset: int, sent_at: dt.datetime) -> dict[str, Any]:
        return click(at(seconds), event_id=event_id, source_ts=at(seconds)) | came(offset, sent_at)

    old, new, day = at(), at(days=1), 86_400
    clicks = [
        *(sent(0, "first", 0, old), sent(3000, "b", 1, old), sent(3700, "c", 2, old), sent(5 * day, "d", 4, old)),
        *(sent(3000, "b", 0, new), sent(3650, "a", 1, new), sent(9 * day, "e", 6, new)),
    ]
    bad = [*(came(offset, old) for offset in (3, 5, 6)), *(came(offset, new) for offset in (2, 3, 4))]
    found = rows("daily_traffic", clicks, bad)
    names = ("total_events", "duplicate_count", "late_count", "quarantined_count")
    assert columns(found, *names) == [(4, 1, 0, 1 + 3), (1, 0, 0, 2), (1, 0, 0, 0)]


def test_weights_of_a_day_add_up_to_its_clicks() -> None:
    named = [["Surgery", "Urology", "Oncology"], ["Surgery"], [], None, ["Urology", "Surgery"]]
    clicks = [click(at(number), clinical_areas=areas, document_id=number % 2) for number, areas in enumerate(named)]
    found = rows("clinical_areas", clicks)
    assert columns(found, "clinical_area", "weighted_clicks", "click_share", "unique_documents") == [
        ("Oncology", pytest.approx(1 / 3), 1 / 5, 1),
        ("Surgery", pytest.approx(1 / 3 + 1 + 1 / 2), 3 / 5, 2),
        ("Unknown", 2.0, 2 / 5, 2),
        ("Urology", pytest.approx(1 / 3 + 1 / 2), 2 / 5, 1),
    ]
    assert sum(row["weighted_clicks"] for row in found) == pytest.approx(len(named))


def test_areas_are_ranked_by_clicks_then_sessions_then_name() -> None:
    by_session = {"a": ["Surgery", "Surgery", "Urology"], "b": ["Urology", "Oncology"], "c": ["Dentistry"]}
    clicks = [
        click(at(number), session, clinical_areas=[area])
        for session, areas in by_session.items()
        for number, area in enumerate(areas)
    ]
    found = rows("clinical_areas", clicks)
    ranks = {row["clinical_area"]: row["rank_in_day"] for row in found}
    assert ranks == {"Urology": 1, "Surgery": 2, "Dentistry": 3, "Oncology": 4}


def test_documents_are_ranked_by_sessions_then_clicks_then_id() -> None:
    by_session = {"a": [1, 1, 1, 2, 5], "b": [2, 3, 3, 4]}
    clicks = [
        click(at(n), name, document) for name, clicked in by_session.items() for n, document in enumerate(clicked)
    ]
    found = rows("popular_documents", [*clicks, click(at(days=1), document_id=9)])
    assert columns(found, "document_id", "rank_in_day") == [(1, 2), (2, 1), (3, 3), (4, 4), (5, 5), (9, 1)]


def test_an_impression_is_a_search_that_shows_the_document() -> None:
    page, other = [7, 8, 9], [8, 7]
    clicks = [
        click(at(0), query="a", document_id=7, documents=page, click_rank=1),
        click(at(1), query="a", document_id=7, documents=page, click_rank=1),  # the same search, clicked again
        click(at(2), query="a", document_id=8, documents=other, click_rank=1),
        click(at(3), query="b", document_id=9, documents=page, click_rank=3),
        click(at(4), query="b", document_id=7, documents=[9, 8]),  # clicked without being shown
        click(at(0), "t", document_id=5, documents=[]),
    ]
    found = rows("popular_documents", clicks)
    assert columns(found, "document_id", "view_count", "impressions", "ctr", "avg_click_rank") == [
        (5, 1, None, None, None),
        (7, 3, 2, 1 / 2, 1.0),
        (8, 1, 2, 1 / 2, 1.0),
        (9, 1, 2, 1 / 2, 3.0),
    ]


def test_host_and_doi_are_the_latest_of_their_own() -> None:
    documents: dict[tuple[str | None, ...], tuple[str | None, str | None]] = {
        ("https://www.Example.org/1?u=http://x", None): ("www.example.org", "10.1/0"),
        ("http://a.org", "ftp://user:word@b.org:21#c"): ("b.org", "10.1/1"),
        ("http://u@ÉCOLE.FR:80/x", "İ"): ("école.fr", "10.1/1"),
        ("HTTPS://İ.TR",): ("i̇.tr", "10.1/0"),
        ("http://a.org", "no address", "/path", "://c"): ("a.org", "10.1/3"),
        (None, "", "mailto:a@b.org"): (None, "10.1/2"),
        (None, ""): (None, None),
    }
    clicks = [
        click(at(number), document_id=document, url=url, doi=f"10.1/{number}" if url else "")
        for document, urls in enumerate(documents)
        for number, url in enumerate(urls)
    ]
    found = rows("popular_documents", clicks)
    assert columns(found, "url_host", "doi") == list(documents.values())
