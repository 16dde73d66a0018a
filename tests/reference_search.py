"""The search marts computed a second time, as tests/reference.py computes the cold ones: with no code of the jobs.

What the columns mean is in docs/data-dictionary.md.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.reference import Click, Row, Visit, cells_of, distinct, grouped, latest, moment, ranks, receive

COLUMNS = {
    "click_positions": "event_date, rank, shown, clicked, best, first_clicked, skipped",
    "search_quality": "event_date, query_class, searches, clicks, visits, known_searches, refined, first_result, "
    "top_3, top_10, rr_sum, ctr_at_1, ctr_at_3, ctr_at_10, mrr, mrr_low, mrr_high, ctr_at_1_low, ctr_at_1_high, "
    "units, rr_sq, rr_n, n_sq, first_sq, first_n, ndcg_searches, ndcg_sum, ndcg_random_sum, ndcg_at_10, "
    "ndcg_at_10_random",
    "popular_queries": "event_date, query, clicks, searches, sessions, known_searches, first_result, top_10, rr_sum, "
    "mrr, refined, query_class, rank_in_day, wow_pct",
    "query_change_days": "event_date, kind, changes, known_before, rr_before, known_after, rr_after, first_after, "
    "settled",
    "hourly_traffic": "event_date, hour, clicks, searches, visits",
    "query_changes": "as_of, query, next_query, kind, changes, sessions, known_before, rr_before, known_after, "
    "rr_after, first_after, settled, change_share",
    "trending": "event_date, kind, item, visits_7d, base_visits_28d, expected, ratio, is_new, p_value, q_value, "
    "rank_in_kind, is_significant",
    "query_documents": "as_of, query, document_id, title, searches, shown, clicked, ctr, dctr_grade_code, "
    "dctr_grade_docs, avg_rank, best_rank_shown, expected, lift, p_more, p_less, q_more, q_less, verdict",
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
    ndcg: tuple[float, float] | None = None  # and the mean of all orders of its page; none without a grade

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
    rows |= {"query_changes": query_changes(searches), "query_documents": query_documents(searches)}
    rows["trending"] = trending(searches)
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
    paged = grouped((search for search in searches if search.query and search.page), lambda search: search.query)
    for search in searches:
        if search.query:
            search.query_class = class_of(clicks[search.query], search.day)
            search.ndcg = ndcg_of(grades_of(search, paged.get(search.query, [])))


def clicks_by_day(searches: Iterable[Search]) -> dict[str, Counter[dt.date]]:
    found: dict[str, Counter[dt.date]] = defaultdict(Counter)
    for search in searches:
        if search.query:
            found[search.query][search.day] += len(search.clicks)
    return found


def class_of(clicks: Mapping[dt.date, int], day: dt.date) -> str:
    before = sum(count for other, count in clicks.items() if 7 <= (day - other).days <= 371)
    return "head" if before >= 45 else "torso" if before >= 6 else "tail" if before else "new"


def grades_of(search: Search, others: Iterable[Search]) -> list[int]:
    """The grade of each place of a page by earlier searches of its query."""
    earlier = [other for other in others if 7 <= (search.day - other.day).days <= 371]
    grades = []
    for number, document in enumerate(search.page):
        shown = [other for other in earlier if document in other.page]
        clicked = sum(any(click.document_id == document for click in other.clicks) for other in shown)
        is_again = document in search.page[:number]
        grades.append(0 if is_again or len(shown) < 2 else code_grade(Fraction(clicked, len(shown))))
    return grades


def ndcg_of(grades: Sequence[int]) -> tuple[float, float] | None:
    """nDCG@10 of grades by place, and the mean of it over all orders of them."""
    if not any(grades):
        return None
    best = dcg_of(sorted(grades, reverse=True))
    return dcg_of(grades) / best, dcg_of([1] * len(grades)) * sum(grades) / len(grades) / best


def dcg_of(grades: Sequence[int]) -> float:
    return math.fsum(grade / math.log2(1 + place) for place, grade in enumerate(grades[:10], 1))


def code_grade(part: Fraction) -> int:
    return 3 if part >= 1 else 2 if part >= Fraction(30, 100) else 1 if part >= Fraction(4, 100) else 0


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
    row |= agreement([search.ndcg for search in searches if search.ndcg])
    row |= {f"ctr_at_{top}": share(sum(place <= top for place in best), len(best)) for top in (1, 3, 10)}
    row |= interval("mrr", x, n) | interval("ctr_at_1", f, n)
    return row


def agreement(found: Sequence[tuple[float, float]]) -> Row:
    totals = [math.fsum(one[side] for one in found) for side in (0, 1)]
    means = [total / len(found) if found else None for total in totals]
    names = ("ndcg_sum", "ndcg_random_sum", "ndcg_at_10", "ndcg_at_10_random")
    return {"ndcg_searches": len(found), **dict(zip(names, (*totals, *means), strict=True))}


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
    pairs = [one for one in searches if one.after and kind_of(one.query or "", one.after.query or "") == kind]
    return changes_of(pairs) | {"event_date": day, "kind": kind}


def changes_of(pairs: Sequence[Search]) -> Row:
    before = [one.best for one in pairs if one.best]
    after = [one.after.best for one in pairs if one.after and one.after.best]
    return {
        "changes": len(pairs),
        "known_before": len(before),
        "rr_before": reciprocal(before),
        "known_after": len(after),
        "rr_after": reciprocal(after),
        "first_after": after.count(1),
        "settled": sum(one.settled for one in pairs),
    }


def window(searches: Iterable[Search]) -> tuple[dt.date, list[Search]]:
    """The newest day, and the searches of the 364 days until it."""
    found = list(searches)
    newest = max(search.day for search in found)
    return newest, [search for search in found if (newest - search.day).days < 364]


def query_changes(every: Sequence[Search]) -> list[Row]:
    newest, searches = window(every)
    asked = Counter(search.query for search in searches)
    pairs = grouped((one for one in searches if one.after), lambda one: (one.query, one.after and one.after.query))
    rows = []
    for (query, after), found in pairs.items():
        sessions = distinct(one.visit[0] for one in found)
        if query and after and sessions >= 3 and max(len(query), len(after)) <= 300:
            row = {"as_of": newest, "query": query, "next_query": after, "kind": kind_of(query, after)}
            rows.append({**row, "sessions": sessions, "change_share": len(found) / asked[query], **changes_of(found)})
    return rows


def query_documents(every: Sequence[Search]) -> list[Row]:
    newest, searches = window(every)
    ctr = ctr_of([search for search in searches if search.places])
    titles = {
        document: latest(clicks, lambda click: click.title)
        for document, clicks in grouped(
            (click for search in searches for click in search.clicks), lambda click: click.document_id
        ).items()
    }
    rows = []
    for query, asked in grouped((search for search in searches if search.query), lambda search: search.query).items():
        pages = [search for search in asked if search.places]
        if not query or len(query) > 300 or len(pages) < 10 or distinct(search.visit[0] for search in asked) < 2:
            continue
        for document in {document for search in pages for document in search.page}:
            row = {"as_of": newest, "query": query, "title": titles.get(document)}
            rows.append(row | document_row(document, pages, ctr))
    for side in ("more", "less"):
        correct(rows, side)
    return [{**row, "verdict": verdict(row)} for row in rows]


def ctr_of(known: Sequence[Search]) -> dict[int, Fraction]:
    shown = {rank: sum(len(search.page) >= rank for search in known) for rank in range(1, 21)}
    clicked = {rank: sum(rank in search.places for search in known) for rank in range(1, 21)}
    return {rank: Fraction(clicked[rank], count) for rank, count in shown.items() if count}


def document_row(document: int, pages: list[Search], ctr: Mapping[int, Fraction]) -> Row:
    seen = [search for search in pages if document in search.page]
    places = [search.page.index(document) + 1 for search in seen]
    shown, clicked = len(seen), sum(any(one.document_id == document for one in search.clicks) for search in seen)
    expected = sum((ctr[place] for place in places), Fraction(0))
    part = Fraction(clicked, shown)
    docs = 0 if not clicked else 1 if part < Fraction(4, 100) else 2 if part <= Fraction(30, 100) else 3
    return {
        "document_id": document,
        "searches": len(pages),
        "shown": shown,
        "clicked": clicked,
        "ctr": float(part),
        "dctr_grade_code": code_grade(part) if shown > 1 else None,
        "dctr_grade_docs": docs if shown > 1 else None,
        "avg_rank": sum(places) / shown,
        "best_rank_shown": min(places),
        "expected": float(expected),
        "lift": float(clicked / expected) if expected else None,
        "p_more": float(1 - below(clicked, expected)),
        "p_less": float(below(clicked + 1, expected)),
    }


def below(count: int, mean: Fraction) -> Decimal:
    """The probability that a Poisson variable is below `count`."""
    with localcontext(prec=60):
        rate = Decimal(mean.numerator) / Decimal(mean.denominator)
        term = total = Decimal(0)
        for number in range(count):
            term = term * rate / number if number else (-rate).exp()
            total += term
        return total


def correct(rows: Sequence[Row], side: str) -> None:
    """Benjamini and Hochberg over the rows that were shown ten times."""
    tested = sorted((row for row in rows if row["shown"] >= 10), key=lambda row: float(row[f"p_{side}"]))
    least = 1.0
    for rank in range(len(tested), 0, -1):
        least = min(least, tested[rank - 1][f"p_{side}"] * len(tested) / rank)
        tested[rank - 1][f"q_{side}"] = least
    for row in rows:
        row.setdefault(f"q_{side}", None)


def trending(searches: Sequence[Search]) -> list[Row]:
    visits: dict[tuple[str, dt.date], set[tuple[str, tuple[str, int]]]] = defaultdict(set)
    for search in searches:
        for kind, item in items_of(search):
            visits[kind, search.day].add((item, search.visit))
    counts = {where: Counter(item for item, _ in found) for where, found in visits.items()}
    rows = []
    for (kind, day), today in counts.items():
        week = added(counts, kind, day, range(7))
        base = added(counts, kind, day, range(7, 35))
        if added(counts, kind, day, range(28, 35)):
            n1, n0 = sum(week.values()), sum(base.values())
            tested = [trend_row(item, week[item], base[item], n1, n0) for item in today if week[item] >= 5]
            tested.sort(key=lambda row: (row["p_value"], row["item"].encode()))
            least = 1.0
            for rank in range(len(tested), 0, -1):
                least = min(least, tested[rank - 1]["p_value"] * len(tested) / rank)
                tested[rank - 1] |= {"event_date": day, "kind": kind, "rank_in_kind": rank, "q_value": least}
            rows += [{**row, "is_significant": row["q_value"] <= 0.01} for row in tested if row["q_value"] <= 0.05]
    return rows


def items_of(search: Search) -> set[tuple[str, str]]:
    found = {("document", str(click.document_id)) for click in search.clicks}
    found |= {("area", area) for click in search.clicks for area in click.areas if area != "Unknown"}
    if search.query:
        found |= {("term", word) for word in words_of(search.query) if 3 <= len(word) <= 300}
        found |= {("query", search.query)} if len(search.query) <= 300 else set()
    return found


def added(
    counts: Mapping[tuple[str, dt.date], Counter[str]], kind: str, day: dt.date, before: Iterable[int]
) -> Counter[str]:
    """The counts of days so many before a day."""
    found: Counter[str] = Counter()
    for days in before:
        found += counts.get((kind, day - dt.timedelta(days=days)), Counter())
    return found


def trend_row(item: str, k1: int, k0: int, n1: int, n0: int) -> Row:
    n, is_more = k1 + k0, k1 * (n1 + n0) > (k1 + k0) * n1
    ways = sum(math.comb(n, count) * n1**count * n0 ** (n - count) for count in range(k1, n + 1)) if is_more else 0
    return {
        "item": item,
        "visits_7d": k1,
        "base_visits_28d": k0,
        "expected": float(Fraction(k0 * n1, n0)),
        "ratio": float(Fraction(k1 * n0, k0 * n1)) if k0 else None,
        "is_new": k0 == 0,
        "p_value": ways / (n1 + n0) ** n if is_more else 1.0,
    }


def verdict(row: Row) -> str | None:
    if row["q_more"] is not None and row["q_more"] <= 0.05 and row["avg_rank"] > 3:
        return "deserves a better place"
    if row["q_less"] is not None and row["q_less"] <= 0.05 and row["avg_rank"] <= 3:
        return "shown too high"
    return None


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
