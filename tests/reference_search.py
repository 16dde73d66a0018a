"""The search marts computed a second time, as tests/reference.py computes the cold ones: with no code of the jobs.

What the columns mean stands in docs/data-dictionary.md.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.reference import Click, Row, Visit, cells_of, distinct, grouped, moment, ranks, receive

COLUMNS = {
    "click_positions": "event_date, rank, shown, clicked, best, first_clicked, skipped",
    "search_quality": "event_date, query_class, searches, clicks, visits, known_searches, refined, first_result, "
    "top_3, top_10, rr_sum, ctr_at_1, ctr_at_3, ctr_at_10, mrr, mrr_low, mrr_high, ctr_at_1_low, ctr_at_1_high, "
    "units, rr_sq, rr_n, n_sq, first_sq, first_n",
    "popular_queries": "event_date, query, clicks, searches, sessions, known_searches, first_result, top_10, rr_sum, "
    "mrr, refined, query_class, rank_in_day, wow_pct",
    "query_change_days": "event_date, kind, changes, known_before, rr_before, known_after, rr_after, first_after, "
    "settled",
    "hourly_traffic": "event_date, hour, clicks, searches, visits",
}
KINDS = ("new topic", "same words", "narrower", "broader", "beside it")


@dataclass(eq=False)
class Search:
    """A run of clicks with one query; `after` is the visit's next search with another one, none if that is the same."""

    clicks: list[Click]
    is_first: bool
    after: Search | None = None
    settled: bool = False
    query_class: str = "none"

    @property
    def day(self) -> dt.date:
        return self.clicks[0].day

    @property
    def query(self) -> str | None:
        return self.clicks[0].query

    @property
    def visit(self) -> tuple[str, int]:
        return self.clicks[0].session_id, self.clicks[0].visit

    @property
    def places(self) -> list[int]:
        return ranks(self.clicks)

    @property
    def best(self) -> int | None:
        return min(self.places, default=None)

    @property
    def page(self) -> list[int]:
        return next((click.documents for click in self.clicks if click.rank), [])


def search_tables(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """The sorted rows of each table, columns as in COLUMNS, of all `*.json` files of a folder."""
    searches = [search for visit in receive(folder, shift_ms, sent_at).visits for search in searches_in(visit)]
    return tables_of(searches)


def tables_of(searches: Sequence[Search]) -> dict[str, list[tuple[Any, ...]]]:
    classify(searches)
    days = grouped(searches, lambda search: search.day)
    rows = {
        "click_positions": [row for day, found in days.items() for row in click_positions(day, found)],
        "search_quality": [row for day, found in days.items() for row in search_quality(day, found)],
        "popular_queries": popular_queries(days),
        "query_change_days": [change_row(day, kind, found) for day, found in days.items() for kind in KINDS],
        "hourly_traffic": [hour_row(day, hour, found) for day, found in days.items() for hour in range(24)],
    }
    return {table: sorted((cells_of(row, COLUMNS[table]) for row in rows[table]), key=repr) for table in COLUMNS}


def searches_in(visit: Visit) -> list[Search]:
    """The searches of a visit in order, each with what came after it."""
    found = [
        Search(clicks, number == 0) for number, clicks in enumerate(grouped(visit, lambda one: one.search).values())
    ]
    asked = [search for search in found if search.query]
    for number, search in enumerate(asked[:-1]):
        if asked[number + 1].query != search.query:
            search.after = asked[number + 1]
            search.settled = number + 2 == len(asked)
    return found


def classify(searches: Sequence[Search]) -> None:
    clicks = clicks_by_day(searches)
    for search in searches:
        if search.query:
            search.query_class = class_of(clicks[search.query], search.day)


def clicks_by_day(searches: Iterable[Search]) -> dict[str, Counter[dt.date]]:
    found: dict[str, Counter[dt.date]] = defaultdict(Counter)
    for search in searches:
        if search.query:
            found[search.query][search.day] += len(search.clicks)
    return found


def class_of(clicks: Mapping[dt.date, int], day: dt.date) -> str:
    before = sum(count for other, count in clicks.items() if 7 <= (day - other).days <= 371)
    return "head" if before >= 45 else "torso" if before >= 6 else "tail" if before else "new"


def click_positions(day: dt.date, searches: list[Search]) -> list[Row]:
    known = [search for search in searches if search.places]
    empty = {"event_date": day, "shown": 0, "best": 0, "first_clicked": 0, "skipped": 0}
    rows = [{**empty, "rank": 0, "clicked": len(searches) - len(known)}]
    for rank in range(1, 21):
        row = {
            "event_date": day,
            "rank": rank,
            "shown": sum(len(search.page) >= rank for search in known),
            "clicked": sum(rank in search.places for search in known),
            "best": sum(search.best == rank for search in known),
            "first_clicked": sum(search.places[0] == rank for search in known),
            "skipped": sum(rank not in search.places and max(search.places) > rank for search in known),
        }
        rows.append(row)
    return rows


def search_quality(day: dt.date, searches: list[Search]) -> list[Row]:
    classes = {"all": searches, **grouped(searches, lambda search: search.query_class)}
    return [quality_row(day, name, found) for name, found in classes.items()]


def quality_row(day: dt.date, name: str, searches: list[Search]) -> Row:
    best = [search.best for search in searches if search.best]
    visits = grouped(searches, lambda search: search.visit)
    units = [[one.best for one in found if one.best] for found in visits.values()]
    units = [unit for unit in units if unit]
    n = [len(unit) for unit in units]
    x = [sum(Fraction(1, place) for place in unit) for unit in units]
    f = [unit.count(1) for unit in units]
    row = sums(searches) | {
        "event_date": day,
        "query_class": name,
        "visits": len(visits),
        "top_3": sum(place <= 3 for place in best),
        "units": len(units),
        "rr_sq": float(sum(one * one for one in x)),
        "rr_n": float(sum(one * many for one, many in zip(x, n, strict=True))),
        "n_sq": sum(many * many for many in n),
        "first_sq": sum(one * one for one in f),
        "first_n": sum(one * many for one, many in zip(f, n, strict=True)),
    }
    row |= {f"ctr_at_{top}": share(sum(place <= top for place in best), len(best)) for top in (1, 3, 10)}
    row |= interval("mrr", x, n) | interval("ctr_at_1", f, n)
    return row


def interval(name: str, x: Sequence[Fraction | int], n: Sequence[int]) -> Row:
    """A ratio of sums, plus and minus 1.96 times its standard error by the units' residuals."""
    if len(n) < 2:
        return {f"{name}_low": None, f"{name}_high": None}
    m = Fraction(sum(x)) / sum(n)
    variance = Fraction(len(n), len(n) - 1) * sum((one - m * many) ** 2 for one, many in zip(x, n, strict=True))
    half = 1.96 * math.sqrt(variance) / sum(n)
    return {f"{name}_low": max(float(m) - half, 0.0), f"{name}_high": min(float(m) + half, 1.0)}


def sums(searches: Sequence[Search]) -> Row:
    best = [search.best for search in searches if search.best]
    return {
        "clicks": sum(len(search.clicks) for search in searches),
        "searches": len(searches),
        "known_searches": len(best),
        "first_result": best.count(1),
        "top_10": sum(place <= 10 for place in best),
        "rr_sum": reciprocal(best),
        "mrr": share(sum(Fraction(1, place) for place in best), len(best)),
        "refined": sum(search.after is not None for search in searches),
    }


def popular_queries(days: Mapping[dt.date, list[Search]]) -> list[Row]:
    clicks = clicks_by_day(search for found in days.values() for search in found)
    sessions: dict[str, set[tuple[dt.date, str]]] = defaultdict(set)
    for day, searches in days.items():
        for search in searches:
            if search.query:
                sessions[search.query].add((day, search.visit[0]))
    rows = []
    for day, searches in days.items():
        asked = grouped((search for search in searches if search.query), lambda search: search.query)
        own = {
            query: found
            for query, found in asked.items()
            if query
            and len(query) <= 300
            and distinct(who for when, who in sessions[query] if 0 <= (day - when).days < 364) > 1
        }
        of_day = [query_row(day, query, found, clicks[query]) for query, found in own.items()]
        of_day.sort(key=lambda row: (-row["sessions"], -row["clicks"], row["query"].encode()))
        rows += [{**row, "rank_in_day": rank} for rank, row in enumerate(of_day, 1)]
        rest = [search for query, found in asked.items() if query not in own for search in found]
        if rest:
            rows.append({**query_row(day, None, rest, {}), "query_class": None, "rank_in_day": None})
    return rows


def query_row(day: dt.date, query: str | None, searches: list[Search], clicks: Mapping[dt.date, int]) -> Row:
    row = sums(searches)
    before = clicks.get(day - dt.timedelta(days=7))
    return row | {
        "event_date": day,
        "query": query,
        "sessions": distinct(search.visit[0] for search in searches),
        "query_class": searches[0].query_class,
        "wow_pct": 100 * (row["clicks"] - before) / before if before else None,
    }


def change_row(day: dt.date, kind: str, searches: list[Search]) -> Row:
    pairs = [
        (one, one.after) for one in searches if one.after and kind_of(one.query or "", one.after.query or "") == kind
    ]
    before = [one.best for one, _ in pairs if one.best]
    after = [one.best for _, one in pairs if one.best]
    return {
        "event_date": day,
        "kind": kind,
        "changes": len(pairs),
        "known_before": len(before),
        "rr_before": reciprocal(before),
        "known_after": len(after),
        "rr_after": reciprocal(after),
        "first_after": after.count(1),
        "settled": sum(one.settled for one, _ in pairs),
    }


def hour_row(day: dt.date, hour: int, searches: list[Search]) -> Row:
    found = [search for search in searches if moment(search.clicks[0].ms).hour == hour]
    return {
        "event_date": day,
        "hour": hour,
        "clicks": sum(len(search.clicks) for search in found),
        "searches": len(found),
        "visits": sum(search.is_first for search in found),
    }


def kind_of(query: str, after: str) -> str:
    a, b = words_of(query), words_of(after)
    if not a & b:
        return "new topic"
    if a == b:
        return "same words"
    return "narrower" if a < b else "broader" if b < a else "beside it"


def words_of(query: str) -> set[str]:
    plain = re.sub(r"title:|\b(from|to|tag):\S*|~\d+", " ", query, flags=re.ASCII)
    letters = "".join(one if unicodedata.category(one)[0] in "LN" else " " for one in plain)
    return set(letters.split()) - {"and", "or", "not"}


def reciprocal(places: Iterable[int]) -> float:
    return float(sum(Fraction(1, place) for place in places))


def share(part: Fraction | int, whole: int) -> float | None:
    return float(Fraction(part) / whole) if whole else None
