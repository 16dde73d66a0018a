"""Each column of the search marts, on rows."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs.generator.__main__ import write_day
from jobs.spark import columns_search
from jobs.spark.cold_marts import SESSIONS
from jobs.spark.columns import schema
from jobs.spark.columns_cold import SESSION_ANALYSIS
from jobs.spark.columns_search import TRENDING
from jobs.spark.search_classes import CLASSIFIED, CLASSIFIED_COLUMNS
from jobs.spark.search_days import BY_DAY
from jobs.spark.search_marts import touched
from jobs.spark.search_trends import TRENDS
from jobs.spark.searches import SEARCHES, SEARCHES_COLUMNS
from jobs.spark.tables import CLICKS_COLUMNS, LONGEST_QUERY
from tests import reference, reference_search
from tests.clicks import at, click
from tests.one_task import found_in, search_days, search_snapshots
from tests.search_logs import frequent_queries, outbreak
from tests.unit.jobs.spark.test_cold_marts import arrived, columns

Rows = list[dict[str, Any]]


def searches(clicks: Sequence[dict[str, Any]]) -> pa.Table:
    return found_in(arrived(clicks, CLICKS_COLUMNS), SEARCHES, SEARCHES_COLUMNS)


def by_day(found: pa.Table, is_earlier: Sequence[bool] | None = None) -> dict[str, pa.Table]:
    """The rows of all marts by day, of searches that one task sees."""
    seen = found.append_column("is_earlier", pa.array(is_earlier or [False] * len(found), pa.bool_()))
    return search_days(seen)


def of_queries(found: pa.Table, days: Mapping[str, pa.Table]) -> dict[str, Rows]:
    """The rows of the tables without days, of searches of less than a year that one task sees; nothing has a title."""
    return {mart: rows.to_pylist() for mart, rows in search_snapshots(found, days).items()}


def trends(found: pa.Table) -> Rows:
    """The rows of trending, of searches that one task sees."""
    seen = found.append_column("is_earlier", pa.array([False] * len(found)))
    rows: Rows = found_in(seen, TRENDS, schema(TRENDING)).to_pylist()
    return rows


def rows_of(mart: str, found: Mapping[str, pa.Table]) -> Rows:
    (table,) = (table for table in columns_search.SEARCH if table.name == mart)
    return sorted(found[mart].to_pylist(), key=lambda row: [str(row[name]).zfill(3) for name in table.key])


def rows(mart: str, clicks: Sequence[dict[str, Any]]) -> Rows:
    return rows_of(mart, by_day(searches(clicks)))


def asked(*queries: str | None, session: str = "s", days: float = 0, **same: Any) -> Rows:
    """Clicks of one visit, a second each."""
    return [click(at(number, days=days), session, query=query, **same) for number, query in enumerate(queries)]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, list[reference_search.Search]]:
    """Dirty clicks, and the searches that the reference sees in them."""
    folder = tmp_path_factory.mktemp("logs")
    for number in range(10):
        write_day(folder, dt.date(2020, 10, 1) + dt.timedelta(days=number), scale=0.1, seed=7, dirty=True)
    (folder / "frequent.json").write_bytes(b"\n".join(frequent_queries(dt.date(2020, 10, 5))))
    (folder / "outbreak.json").write_bytes(b"\n".join(outbreak(dt.date(2020, 9, 20))))
    visits = reference.receive(folder).visits
    clicks = [
        click(
            reference.moment(one.ms),
            one.session_id,
            one.document_id,
            event_id=one.event_id,
            query=one.query,
            documents=one.documents,
            click_rank=one.rank,
            clinical_areas=[area for area in one.areas if area != "Unknown"],
        )
        for visit in visits
        for one in visit
    ]
    return clicks, [search for visit in visits for search in reference_search.searches_in(visit)]


def test_every_cell_is_right_for_dirty_clicks_in_any_order_and_any_split(
    logs: tuple[Rows, list[reference_search.Search]],
) -> None:
    clicks, seen = list(logs[0]), logs[1]
    at_once = by_day(searches(clicks))
    expected = reference_search.tables_of(seen)
    snapshots = {**of_queries(searches(clicks), at_once), "trending": trends(searches(clicks))}
    for mart, names in reference_search.COLUMNS.items():
        found = [reference.cells_of(row, names) for row in snapshots.get(mart) or rows_of(mart, at_once)]
        assert found, mart
        # Titles come later, by Spark.
        same = sorted(found, key=repr) if mart != "query_documents" else untitled(found)
        assert same == (expected[mart] if mart != "query_documents" else untitled(expected[mart]))
    verdicts = {
        row["document_id"]: row["verdict"] for row in snapshots["query_documents"] if row["query"] == "frequent"
    }
    judged = {number: verdict for number, verdict in verdicts.items() if verdict}
    assert judged == {1007: "deserves a better place", 1000: "shown too high", 1001: "shown too high"}
    news = {row["item"] for row in snapshots["trending"] if row["is_significant"] and row["is_new"]}
    assert {"ebola steady", "ebola", "30"} <= news
    chance = random.Random(3)  # noqa: S311
    chance.shuffle(clicks)
    tasks = [[one for one in clicks if hash_of(one["session_id"]) % 3 == task] for task in range(3)]
    in_parts = pa.concat_tables([searches(task) for task in tasks])
    again = by_day(in_parts.take(chance.sample(range(len(in_parts)), len(in_parts))))
    for table in BY_DAY:
        assert rows_of(table.name, again) == rows_of(table.name, at_once)
    for mart, rows in {**of_queries(in_parts, again), "trending": trends(in_parts)}.items():
        assert sorted(rows, key=repr) == sorted(snapshots[mart], key=repr)


def untitled(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of query_documents without the titles."""
    return sorted(((*row[:3], *row[4:]) for row in rows), key=repr)


def hash_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def test_the_tables_agree_with_each_other_and_with_the_visits(
    logs: tuple[Rows, list[reference_search.Search]],
) -> None:
    clicks, _ = logs
    found = by_day(searches(clicks))
    marts = {table.name: rows_of(table.name, found) for table in BY_DAY}
    visits = found_in(arrived(clicks, CLICKS_COLUMNS), SESSIONS, schema(SESSION_ANALYSIS)).to_pylist()

    def total(mart: str, name: str, **where: Any) -> int:
        return sum(row[name] for row in marts[mart] if all(row[key] == value for key, value in where.items()))

    quality = {
        name: total("search_quality", name, query_class="all")
        for name in ("clicks", "searches", "refined", "known_searches")
    }
    nameless = {name: total("search_quality", name, query_class="none") for name in ("clicks", "searches")}
    assert quality["clicks"] == len(clicks) == total("hourly_traffic", "clicks")
    assert total("hourly_traffic", "visits") == len(visits)
    for name, count in nameless.items():
        assert total("popular_queries", name) + count == quality[name]
    assert total("query_change_days", "changes") == quality["refined"]
    assert quality["refined"] == sum(visit["reformulation_count"] for visit in visits) > 0
    assert total("click_positions", "best") == total("click_positions", "shown", rank=1) == quality["known_searches"]
    assert total("click_positions", "clicked", rank=0) == quality["searches"] - quality["known_searches"] > 0


def test_a_search_belongs_whole_to_the_day_and_hour_of_its_first_click() -> None:
    before_midnight = 12 * 3600 - 30
    clicks = [click(at(before_midnight + number * 60), query="q") for number in range(3)]
    clicks += [click(at(before_midnight + 200), query="other")]
    found = [row for row in rows("hourly_traffic", clicks) if row["searches"]]
    names = ("event_date", "hour", "clicks", "searches", "visits")
    assert columns(found, *names) == [(at().date(), 23, 3, 1, 1), (at(days=1).date(), 0, 1, 1, 0)]


@pytest.mark.parametrize(
    ("queries", "refined"),
    [("a b c", 2), ("a a", 0), ("a - a", 0), ("a - b", 1), ("a b a", 2), ("- a -", 0), ("a b b - c", 2)],
)
def test_a_search_is_refined_by_the_visits_next_search_with_another_query(queries: str, refined: int) -> None:
    clicks = asked(*(None if query == "-" else query for query in queries.split()))
    found = searches([*clicks, click(at(4000), "s", query="of the next visit")]).to_pylist()
    assert sum(row["next_query"] is not None for row in found) == refined
    assert sum(row["is_settled"] is True for row in found) == (1 if refined else 0)


@pytest.mark.parametrize(
    ("query", "after", "kind"),
    [
        ("asthma", "title:asthma children", "narrower"),
        ("asthma children from:2010 to:2012", "asthma", "broader"),
        ("asthma AND (children)", "children or asthma~3", "same words"),
        ("asthma children", "asthma adults", "beside it"),
        ("asthma", "statins", "new topic"),
        ("tag:x", "asthma", "new topic"),
        ("æther naïve", "naïve", "broader"),
    ],
)
def test_kinds_of_changes(query: str, after: str, kind: str) -> None:
    first, last = searches(asked(query.lower(), after.lower())).to_pylist()
    assert (first["kind"], last["kind"]) == (kind, None)


def test_places_of_a_page_and_searches_without_one() -> None:
    page = list(range(100, 105))
    clicks = [
        click(at(second), "a", page[rank - 1], documents=page, click_rank=rank, query="q")
        for second, rank in enumerate((4, 2))
    ]
    clicks += [click(at(0), "b", 7, query="q")]
    found = {row["rank"]: row for row in rows("click_positions", clicks)}
    assert len(found) == 21
    assert found[0]["clicked"] == 1
    names = ("rank", "shown", "clicked", "best", "first_clicked", "skipped")
    assert columns([found[rank] for rank in range(1, 7)], *names) == [
        (1, 1, 0, 0, 0, 1),
        (2, 1, 1, 1, 0, 0),
        (3, 1, 0, 0, 0, 1),
        (4, 1, 1, 0, 1, 0),
        (5, 1, 0, 0, 0, 0),
        (6, 0, 0, 0, 0, 0),
    ]


def test_an_interval_needs_two_visits_and_stays_within_0_and_1() -> None:
    names = ("mrr", "mrr_low", "mrr_high", "ctr_at_1_low", "ctr_at_1_high")

    def quality(*ranks: int | None) -> tuple[Any, ...]:
        clicks = [click(session_id=f"s{number}", query="q", click_rank=rank) for number, rank in enumerate(ranks)]
        (found,) = columns(rows("search_quality", clicks)[:1], *names)
        return found

    assert quality(None) == (None,) * 5
    assert quality(1, None) == (1.0, None, None, None, None)
    assert quality(1, 1, 1) == (1.0,) * 5
    assert quality(1, 1, 2) == (5 / 6, pytest.approx(5 / 6 - 1.96 / 6), 1.0, pytest.approx(2 / 3 - 1.96 / 3), 1.0)
    assert quality(2, 2) == (0.5, 0.5, 0.5, 0.0, 0.0)
    assert quality(1, 10) == (0.55, 0.0, 1.0, 0.0, 1.0)


def classified_rows(clicks: Sequence[dict[str, Any]]) -> Rows:
    """The searches of these clicks, each with the class of its query."""
    found = searches(clicks)
    seen = found.append_column("is_earlier", pa.array([False] * len(found)))
    rows: Rows = found_in(seen, CLASSIFIED, CLASSIFIED_COLUMNS).to_pylist()
    return rows


def classified(clicks: Sequence[dict[str, Any]]) -> dict[str | None, dict[str, Any]]:
    """The searches of NOON's day by query."""
    rows = classified_rows(clicks)
    return {row["query"]: row for row in rows if row["event_date"] == at().date() and row["session_id"] == "s"}


def test_the_class_of_a_query_is_by_the_clicks_of_a_year_but_its_last_days() -> None:
    cases = [
        (1, 6, "new"),
        (1, 7, "tail"),
        (5, 371, "tail"),
        (6, 30, "torso"),
        (44, 30, "torso"),
        (45, 30, "head"),
        (9, 372, "new"),
    ]
    clicks = asked(*map(str, cases), None)
    for before, days_ago, query_class in cases:
        case = str((before, days_ago, query_class))
        clicks += asked(*[case] * before, session=case, days=-days_ago)
    found = classified(clicks)
    for before, days_ago, query_class in cases:
        assert found[str((before, days_ago, query_class))]["query_class"] == query_class
        changes = at().date() in (touched("search_quality", [at(days=-days_ago).date()]) or ())
        assert changes == (query_class != "new")
    assert found[None]["query_class"] == "none"


@pytest.fixture(scope="module")
def trec_eval() -> Any:
    """nDCG@10 by trec_eval, of grades by place; without NumPy, which is for its statistics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numpy", ModuleType("numpy"))
        import pytrec_eval  # noqa: PLC0415

    def ndcg(grades: Sequence[int]) -> float:
        qrels = {"q": {str(place): grade for place, grade in enumerate(grades)}}
        order = {"q": {str(place): float(-place) for place in range(len(grades))}}
        score: float = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(order)["q"]["ndcg_cut_10"]
        return score

    return ndcg


def shown(page: Sequence[int], rank: int, session: str, days: float = 0) -> dict[str, Any]:
    """A click on a place of a page, from 1."""
    place = {"documents": list(page), "click_rank": rank}
    return click(at(days=days), session, page[rank - 1], query="q", **place)


def test_the_agreement_with_earlier_clicks_is_the_ndcg_of_trec_eval(trec_eval: Any) -> None:
    chance = random.Random(5)  # noqa: S311
    documents = range(30)
    clicks = []
    for number in range(60):
        page = chance.sample(documents, 12)
        clicks.append(shown(page, page.index(min(page)) + 1, f"early{number}", -chance.randint(7, 30)))
    grades = {}
    for document in documents:
        its = [one for one in clicks if document in one["documents"]]
        grades[document] = graded(sum(one["document_id"] == document for one in its), len(its))
    assert set(grades.values()) == {0, 1, 2, 3}
    pages = {f"now{number}": chance.sample(documents, chance.randint(1, 20)) for number in range(50)}
    now = [shown(page, 1, session) for session, page in pages.items()]
    found = {row["session_id"]: row["ndcg"] for row in classified_rows([*clicks, *now])}
    its_grades = {session: [grades[document] for document in page] for session, page in pages.items()}
    expected = {session: trec_eval(its) if any(its) else None for session, its in its_grades.items()}
    assert {session: found[session] for session in pages} == {
        session: value and pytest.approx(value, rel=1e-14) for session, value in expected.items()
    }
    assert min(filter(None, expected.values())) < 0.4
    assert {None, 1.0} <= set(expected.values())


def graded(clicked: int, times: int) -> int:
    return reference_search.code_grade(Fraction(clicked, times)) if times > 1 else 0


def test_the_agreement_of_a_random_order_is_the_mean_of_all_orders(trec_eval: Any) -> None:
    early = [shown([1, 2, 3, 4], rank, f"early{number}", -9) for number, rank in enumerate([2, 2, 4])]
    (now,) = (row for row in classified_rows([*early, shown([1, 2, 3, 4], 1, "now")]) if row["session_id"] == "now")
    orders = [trec_eval(order) for order in permutations([0, 2, 0, 2])]
    assert now["ndcg"] == pytest.approx(trec_eval([0, 2, 0, 2]), rel=1e-14)
    assert now["ndcg_random"] == pytest.approx(sum(orders) / len(orders), rel=1e-14)


def test_a_document_that_a_page_has_twice_is_its_first_place(trec_eval: Any) -> None:
    early = [shown([1, 2, 2, 3], 2, f"early{number}", -9) for number in range(2)]
    (now,) = (row for row in classified_rows([*early, shown([1, 2, 2, 3], 1, "now")]) if row["session_id"] == "now")
    assert now["ndcg"] == pytest.approx(trec_eval([0, 3, 0, 0]), rel=1e-14)


@pytest.mark.parametrize(("days", "counts"), [(6, False), (7, True), (371, True), (372, False)])
def test_clicks_are_earlier_from_7_to_371_days_after(days: int, counts: bool) -> None:
    early = [shown([1, 2], 2, f"early{number}", -days) for number in range(2)]
    (now,) = (row for row in classified_rows([*early, shown([1, 2], 1, "now")]) if row["session_id"] == "now")
    assert (now["ndcg"] is not None) == counts
    assert (at().date() in (touched("search_quality", [at(days=-days).date()]) or ())) == counts


def test_a_click_counts_where_the_page_of_its_search_shows_the_document(trec_eval: Any) -> None:
    other_page = [shown([1, 2], 2, "early", -9), click(at(1, days=-9), "early", 3, query="q")]
    early = [shown([3, 1], 2, f"early{number}", -9) for number in range(2)]
    found = classified_rows([*other_page, *early, shown([3, 1], 1, "now")])
    (now,) = (row for row in found if row["session_id"] == "now")
    assert now["ndcg"] == pytest.approx(trec_eval([0, 2]), rel=1e-14)


def test_what_was_shown_once_has_no_grade() -> None:
    found = classified_rows([shown([1, 2], 2, "early", -9), shown([1, 2], 1, "now")])
    assert [row["ndcg"] for row in found] == [None, None]


def test_the_clicks_of_a_day_change_that_day_and_none_other_until_a_week_after(
    logs: tuple[Rows, list[reference_search.Search]],
) -> None:
    seen = searches(logs[0])
    days = seen["event_date"]
    late = pc.max(days).as_py() - dt.timedelta(days=8)
    every, without, until = (
        rows_of("search_quality", by_day(found))
        for found in (seen, seen.filter(pc.not_equal(days, late)), seen.filter(pc.less_equal(days, late)))
    )
    assert [row for row in every if row["event_date"] <= late] == until
    changed = {row["event_date"] for row in [*every, *without] if row not in every or row not in without}
    week = {late + dt.timedelta(days=number) for number in range(1, 7)}
    assert {late, late + dt.timedelta(days=7)} <= changed <= (touched("search_quality", [late]) or set()) - week


def test_a_query_that_one_session_asked_has_no_row_of_its_own() -> None:
    cases = [("t", 0, True), ("t", 363, True), ("t", 364, False), ("s", 1, False)]
    clicks = asked(*map(str, cases))
    for other, days_ago, is_shared in cases:
        clicks += asked(str((other, days_ago, is_shared)), session=other, days=-days_ago)
    found = classified(clicks)
    for case in cases:
        assert found[str(case)]["is_shared"] == case[2]
    assert at().date() in (touched("popular_queries", [at(days=-363).date()]) or ())
    names = ("query", "searches", "sessions", "rank_in_day", "query_class", "wow_pct")
    today = [row for row in rows("popular_queries", clicks) if row["event_date"] == at().date()]
    assert columns([row for row in today if not row["query"]], *names) == [(None, 2, 1, None, None, None)]
    assert sorted(row["query"] for row in today if row["query"]) == sorted(str(case) for case in cases if case[2])


def test_a_long_query_has_no_row_of_its_own() -> None:
    texts = ["é" * LONGEST_QUERY, "x" * (LONGEST_QUERY + 1)]
    clicks = [one for session in "ab" for one in asked(*texts, session=session)]
    assert sorted(str(row["query"]) for row in rows("popular_queries", clicks)) == sorted(["None", texts[0]])


def test_a_query_is_compared_with_the_same_weekday_before() -> None:
    both = [*asked("q", "q", session="a", days=-7), *asked("q", session="b", days=-7)]
    clicks = [*both, *asked("q", session="c"), *asked("q", session="d", days=1)]
    found = columns(rows("popular_queries", clicks), "clicks", "wow_pct", "rank_in_day")
    assert found == [(3, None, 1), (1, -100 * 2 / 3, 1), (1, None, 1)]


def test_what_is_only_looked_back_at_makes_no_rows() -> None:
    seen = searches([*asked(*["q"] * 6, session="early", days=-20), *asked("q")])
    is_earlier = [day != at().date() for day in seen["event_date"].to_pylist()]
    found = by_day(seen, is_earlier)
    assert {day for rows in found.values() for day in rows["event_date"].to_pylist()} == {at().date()}
    assert [row["query_class"] for row in rows_of("search_quality", found)] == ["all", "torso"]


@pytest.mark.parametrize(("first_days_ago", "has_rows"), [(34, True), (28, True), (27, False), (35, False)])
def test_a_trend_needs_five_weeks_and_counts_a_visit_once_a_day(first_days_ago: int, has_rows: bool) -> None:
    base = [
        one
        for ago in (first_days_ago, 10)
        for number in range(20)
        for one in asked("old", session=f"b{ago}.{number}", days=-ago)
    ]
    clicks = [*base, *(one for number in range(9) for one in asked("new", "and", "new", session=f"n{number}"))]
    found = [row for row in trends(searches(clicks)) if row["kind"] == "query" and row["item"] == "new"]
    names = ("visits_7d", "base_visits_28d", "is_new", "ratio", "expected", "is_significant")
    assert columns(found, *names) == [(9, 0, True, None, 0.0, True)] * has_rows
