"""The four cold tables computed a second time: from the raw log files, in plain Python, with no code of the jobs.

Only the list of clinical areas is shared with them. What the columns mean is in docs/data-dictionary.md; each is
computed here from all clicks at once, in exact numbers, with no regard to speed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import itertools
import json
import math
import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from jobs.event import CLINICAL_AREAS

COLUMNS = {
    "session_analysis": "session_id, visit_no, event_date, click_count, unique_docs, first_click_ts, last_click_ts, "
    "session_duration_sec, query_count, search_count, reformulation_count, avg_click_rank, mrr, median_gap_sec, "
    "distinct_areas, top_area, is_bounce, is_anomalous",
    "daily_traffic": "event_date, total_events, unique_sessions, unique_documents, peak_hour, unique_queries, "
    "clicks_per_session, bounce_rate, median_duration_sec, p95_duration_sec, ctr_at_1, mean_reciprocal_rank, "
    "rank_coverage, no_query_share, dod_pct, wow_pct, duplicate_count, quarantined_count, late_count",
    "clinical_areas": "event_date, clinical_area, search_count, unique_sessions, weighted_clicks, click_share, "
    "unique_documents, rank_in_day, wow_pct",
    "popular_documents": "event_date, document_id, title, view_count, unique_sessions, rank_in_day, doi, url_host, "
    "impressions, ctr, avg_click_rank, wow_pct",
}
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
VISIT_PAUSE_MS = 30 * MINUTE_MS
LATE_MS = 10 * MINUTE_MS
# White space is no control character here: it ends a word.
_CONTROL = dict.fromkeys(n for n in range(256) if unicodedata.category(chr(n)) == "Cc" and not chr(n).isspace())


@dataclass(slots=True)
class Click:
    """A valid click; `visit` and `search` are numbered within its session, and come with `visits_of`."""

    event_id: str
    session_id: str
    ms: int
    day: dt.date
    document_id: int
    title: str | None
    doi: str | None
    host: str | None
    areas: list[str]
    query: str | None
    documents: list[int]
    rank: int | None
    repeats: int = 0
    is_late: bool = False
    visit: int = 0
    search: int = 0


Visit = list[Click]  # in their order
Row = dict[str, Any]


class Received(NamedTuple):
    """What came: the visits of all clicks, and how many bad lines came right behind a click of each day."""

    visits: list[Visit]
    quarantined: Counter[dt.date | None]

    @property
    def clicks(self) -> list[Click]:
        """All, by session and in their order."""
        return list(itertools.chain.from_iterable(self.visits))


class Number(float):
    """A float that equals another one that differs by 1e-12 at most, of 1 or of itself: the marts are not exact."""

    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=1e-12, abs_tol=1e-12)

    def __ne__(self, other: object) -> bool:
        return not self == other


def cold_tables(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None, again: Sequence[Path] = ()
) -> dict[str, list[tuple[Any, ...]]]:
    """The sorted rows of each table, columns as in COLUMNS, of all `*.json` files of a folder.

    `shift_ms` moves the clicks as a replay does; `sent_at` is the time in Kafka (now by default). The lines came in
    the order of the files' names, and those of `again` once more.
    """
    received = receive(folder, shift_ms, sent_at, again)
    days = grouped(received.clicks, lambda click: click.day)
    rows = {
        "session_analysis": [session_analysis(visit) for visit in received.visits],
        "daily_traffic": daily_traffic(days, received),
        "clinical_areas": clinical_areas(days),
        "popular_documents": popular_documents(days),
    }
    return {table: sorted(cells_of(row, COLUMNS[table]) for row in rows[table]) for table in COLUMNS}


# Tables: one row per visit, per day, per day and area, per day and document.


def session_analysis(visit: Visit) -> Row:
    first, last = visit[0], visit[-1]
    queries = [click.query for click in visit if click.query]
    known_areas = Counter(area for click in visit for area in click.areas if area != "Unknown")
    searches = grouped(visit, lambda click: click.search)
    return {
        "session_id": first.session_id,
        "visit_no": first.visit,
        "event_date": first.day,
        "click_count": len(visit),
        "unique_docs": distinct(click.document_id for click in visit),
        "first_click_ts": moment(first.ms),
        "last_click_ts": moment(last.ms),
        "session_duration_sec": (last.ms - first.ms) / SECOND_MS,
        "query_count": distinct(queries),
        "search_count": len(searches),
        "reformulation_count": sum(before != after for before, after in itertools.pairwise(queries)),
        "avg_click_rank": mean(ranks(visit)),
        "mrr": mean(reciprocal_ranks(searches.values())),
        "median_gap_sec": quantile(Fraction(1, 2), [Fraction(gap, SECOND_MS) for gap in gaps(visit)]),
        "distinct_areas": len(known_areas),
        "top_area": min(known_areas, key=lambda area: (-known_areas[area], area), default=None),
        "is_bounce": len(visit) == 1,
        "is_anomalous": is_anomalous(visit),
    }


def daily_traffic(days: Mapping[dt.date, list[Click]], received: Received) -> list[Row]:
    began = grouped(received.visits, lambda visit: visit[0].day)
    rows = {day: _day(clicks) | _began(began.get(day, [])) for day, clicks in days.items()}
    totals = {day: len(clicks) for day, clicks in days.items()}
    for day, row in rows.items():
        row["dod_pct"] = change(totals, day, 1)
        row["wow_pct"] = change(totals, day, 7)
        row["quarantined_count"] = received.quarantined[day]
    return list(rows.values())


def _day(clicks: list[Click]) -> Row:
    hours = Counter(click.ms // HOUR_MS % 24 for click in clicks)
    reciprocal = reciprocal_ranks(searches_of(clicks))
    sessions = distinct(click.session_id for click in clicks)
    return {
        "event_date": clicks[0].day,
        "total_events": len(clicks),
        "unique_sessions": sessions,
        "unique_documents": distinct(click.document_id for click in clicks),
        "peak_hour": min(hours, key=lambda hour: (-hours[hour], hour)),
        "unique_queries": distinct(click.query for click in clicks if click.query),
        "clicks_per_session": len(clicks) / sessions,
        "ctr_at_1": mean([one == 1 for one in reciprocal]),
        "mean_reciprocal_rank": mean(reciprocal),
        "rank_coverage": mean([click.rank is not None for click in clicks]),
        "no_query_share": mean([click.query is None for click in clicks]),
        "duplicate_count": sum(click.repeats for click in clicks),
        "late_count": sum(click.is_late for click in clicks),
    }


def _began(visits: list[Visit]) -> Row:
    """What daily_traffic has of the visits that began on a day."""
    durations = [Fraction(visit[-1].ms - visit[0].ms, SECOND_MS) for visit in visits if len(visit) > 1]
    return {
        "bounce_rate": mean([len(visit) == 1 for visit in visits]),
        "median_duration_sec": quantile(Fraction(1, 2), durations),
        "p95_duration_sec": quantile(Fraction(95, 100), durations),
    }


def clinical_areas(days: Mapping[dt.date, list[Click]]) -> list[Row]:
    rows = []
    for day, clicks in days.items():
        areas = grouped(((click, area) for click in clicks for area in click.areas), lambda pair: pair[1])
        of_day = [_area(day, area, [click for click, _ in pairs], len(clicks)) for area, pairs in areas.items()]
        rows += ranked(of_day, lambda row: (-row["search_count"], -row["unique_sessions"], row["clinical_area"]))
    return week_on_week(rows, "clinical_area", "search_count")


def _area(day: dt.date, area: str, clicks: list[Click], total: int) -> Row:
    return {
        "event_date": day,
        "clinical_area": area,
        "search_count": len(clicks),
        "unique_sessions": distinct(click.session_id for click in clicks),
        "weighted_clicks": float(sum(Fraction(1, len(click.areas)) for click in clicks)),
        "click_share": len(clicks) / total,
        "unique_documents": distinct(click.document_id for click in clicks),
    }


def popular_documents(days: Mapping[dt.date, list[Click]]) -> list[Row]:
    rows = []
    for clicks in days.values():
        was_clicked = impressions(clicks)
        documents = grouped(clicks, lambda click: click.document_id)
        of_day = [_document(views, was_clicked[document]) for document, views in documents.items()]
        rows += ranked(of_day, lambda row: (-row["unique_sessions"], -row["view_count"], row["document_id"]))
    return week_on_week(rows, "document_id", "view_count")


def _document(views: list[Click], was_clicked: list[bool]) -> Row:
    """`was_clicked` tells of each search that showed the document."""
    return {
        "event_date": views[0].day,
        "document_id": views[0].document_id,
        "title": latest(views, lambda click: click.title),
        "view_count": len(views),
        "unique_sessions": distinct(click.session_id for click in views),
        "doi": latest(views, lambda click: click.doi),
        "url_host": latest(views, lambda click: click.host),
        "impressions": len(was_clicked) or None,
        "ctr": mean(was_clicked),
        "avg_click_rank": mean(ranks(views)),
    }


# What the tables speak of: visits, searches, impressions.


def visits_of(session: Iterable[Click]) -> list[Visit]:
    """The clicks of one session in visits; visit and search are set."""
    in_order = sorted(session, key=lambda click: (click.ms, click.event_id))
    visits = runs(in_order, lambda before, after: after.ms - before.ms > VISIT_PAUSE_MS)
    numbers = itertools.count(1)
    for visit_no, visit in enumerate(visits, 1):
        for search in runs(visit, lambda before, after: before.query != after.query):
            search_no = next(numbers)
            for click in search:
                click.visit, click.search = visit_no, search_no
    return visits


def runs(clicks: Sequence[Click], breaks: Callable[[Click, Click], bool]) -> list[list[Click]]:
    """The clicks cut wherever two neighbours say so."""
    cuts = [number for number, pair in enumerate(itertools.pairwise(clicks), 1) if breaks(*pair)]
    return [list(clicks[start:end]) for start, end in itertools.pairwise([0, *cuts, len(clicks)])]


def searches_of(clicks: list[Click]) -> Iterable[list[Click]]:
    """Those clicks by search."""
    return grouped(clicks, lambda click: (click.session_id, click.search)).values()


def impressions(clicks: list[Click]) -> dict[int, list[bool]]:
    """By document each search that has it on a result page: whether it was clicked there, from a page that is known."""
    found: dict[int, list[bool]] = defaultdict(list)
    for search in searches_of(clicks):
        clicked = {click.document_id for click in search if click.rank}
        for document in {document for click in search for document in click.documents}:
            found[document].append(document in clicked)
    return found


def gaps(visit: Visit) -> list[int]:
    return [after.ms - before.ms for before, after in itertools.pairwise(visit)]


def ranks(clicks: Iterable[Click]) -> list[int]:
    return [click.rank for click in clicks if click.rank]


def reciprocal_ranks(searches: Iterable[list[Click]]) -> list[Fraction]:
    """1 / the best place of each search that has a known one."""
    return [Fraction(1, min(known)) for search in searches if (known := ranks(search))]


def latest(clicks: Iterable[Click], text: Callable[[Click], str | None]) -> str | None:
    in_order = sorted(clicks, key=lambda click: (click.ms, click.event_id))
    return next(filter(None, map(text, reversed(in_order))), None)


# When a session is anomalous.


class Seen(NamedTuple):
    """What a rule sees at a click: its metric, where that begins and ends, how many clicks it has."""

    metric: float
    start_ms: int
    end_ms: int
    click_count: int


class Rule(NamedTuple):
    """A rule of the dictionary: a metric of each click of a visit, in one series or in one per document.

    `once`: the rule is for the whole visit, not for each burst in it.
    """

    rule_id: str
    warning: float
    critical: float
    look: Callable[[Visit], list[list[Seen]]]
    is_below: bool = False
    once: bool = False

    def first(self, level: float, series: Iterable[Seen]) -> list[Seen]:
        """Where the metric reaches the level, of what overlaps the first."""
        reached = [seen for seen in series if (seen.metric < level if self.is_below else seen.metric >= level)]
        if self.once:
            return reached[:1]
        return reached[:1] + [seen for last, seen in itertools.pairwise(reached) if last.end_ms <= seen.start_ms]


def is_anomalous(visit: Visit) -> bool:
    return any(rule.first(rule.warning, series) for rule in RULES for series in rule.look(visit))


def _in_window(length_ms: int, visit: Visit) -> list[Seen]:
    """Clicks in a sliding window, which has its end and not its start: it is shorter than the pause between visits."""
    times = [click.ms for click in visit]
    counts = [bisect_right(times, end) - bisect_right(times, end - length_ms) for end in times]
    return [Seen(count, end - length_ms, end, count) for count, end in zip(counts, times, strict=True)]


def _on_one_document(length_ms: int, visit: Visit) -> list[list[Seen]]:
    documents = grouped(visit, lambda click: click.document_id).values()
    return [_in_window(length_ms, clicks) for clicks in documents]


def _variation_of_gaps(visit: Visit) -> list[Seen]:
    """Coefficient of variation of ten gaps in a row; gaps of no length have none."""
    found = []
    for first in range(len(visit) - 10):
        clicks = visit[first : first + 11]
        total, squares = sum(gaps(clicks)), sum(gap * gap for gap in gaps(clicks))
        if total:
            variation = math.sqrt(10 * squares - total * total) / total
            found.append(Seen(variation, clicks[0].ms, clicks[-1].ms, len(clicks)))
    return found


def _hours_without_pause(visit: Visit) -> list[Seen]:
    start = visit[0].ms
    return [Seen((click.ms - start) / HOUR_MS, start, click.ms, count) for count, click in enumerate(visit, 1)]


RULES = (
    Rule("clicks_5m", 50, 100, lambda visit: [_in_window(5 * MINUTE_MS, visit)]),
    Rule("clicks_1m", 20, 40, lambda visit: [_in_window(MINUTE_MS, visit)]),
    Rule("steady_gaps", 0.1, 0.03, lambda visit: [_variation_of_gaps(visit)], is_below=True, once=True),
    Rule("same_document_10m", 10, 30, lambda visit: _on_one_document(10 * MINUTE_MS, visit)),
    Rule("long_activity", 4, 8, lambda visit: [_hours_without_pause(visit)], once=True),
)


# Numbers and groups.


def grouped(values: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = defaultdict(list)
    for value in values:
        found[key(value)].append(value)
    return dict(found)


def distinct(values: Iterable[Hashable]) -> int:
    return len(set(values))


def mean(values: Sequence[int | Fraction]) -> float | None:
    return float(Fraction(sum(values)) / len(values)) if values else None


def quantile(share: Fraction, values: Sequence[Fraction]) -> float | None:
    """Interpolated between the two values next to it."""
    if not values:
        return None
    in_order = sorted(values)
    place = share * (len(values) - 1)
    below, above = in_order[math.floor(place)], in_order[math.ceil(place)]
    return float(below + (above - below) * (place % 1))


def change(counts: Mapping[dt.date, int], day: dt.date, days: int) -> float | None:
    """In percent, against so many days before."""
    before = counts.get(day - dt.timedelta(days=days))
    return (counts[day] - before) * 100 / before if before else None


def ranked(rows: Iterable[Row], order: Callable[[Row], Any]) -> list[Row]:
    return [{**row, "rank_in_day": rank} for rank, row in enumerate(sorted(rows, key=order), 1)]


def week_on_week(rows: Iterable[Row], key: str, count: str) -> list[Row]:
    found: list[Row] = []
    for same in grouped(rows, lambda row: row[key]).values():
        counts = {row["event_date"]: row[count] for row in same}
        found += [{**row, "wow_pct": change(counts, row["event_date"], 7)} for row in same]
    return found


def cells_of(row: Row, columns: str) -> tuple[Any, ...]:
    """The row as psycopg has it, its floats as Number."""
    cells = (row[name] for name in columns.split(", "))
    return tuple(Number(cell) if isinstance(cell, float) else cell for cell in cells)


def moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms // SECOND_MS, dt.UTC) + dt.timedelta(milliseconds=ms % SECOND_MS)


# From lines to clicks.


def receive(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None, again: Sequence[Path] = ()
) -> Received:
    """The lines of a folder as `cold_tables` has them."""
    sent_ms = int((sent_at or dt.datetime.now(dt.UTC)).timestamp() * SECOND_MS)
    clicks: dict[bytes, Click] = {}
    quarantined: Counter[dt.date | None] = Counter()
    day, newest_ms = None, Counter[dt.date]()
    for line in _lines([*sorted(folder.glob("*.json")), *again]):
        if line in clicks:
            clicks[line].repeats += 1
            day = clicks[line].day
        elif click := _click(line, shift_ms, sent_ms):
            clicks[line], day = click, click.day
            click.is_late = newest_ms[day] - click.ms > LATE_MS
            newest_ms[day] = max(newest_ms[day], click.ms)
        else:
            quarantined[day] += 1
    sessions = grouped(clicks.values(), lambda click: click.session_id)
    return Received([visit for session in sessions.values() for visit in visits_of(session)], quarantined)


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    return (line for path in files for line in path.read_bytes().split(b"\n") if line)


def _click(line: bytes, shift_ms: int, sent_ms: int) -> Click | None:
    """The click of a line, or None when the line is not a valid one."""
    try:
        raw = json.loads(line.decode().removeprefix("\ufeff").strip().removesuffix(","))
    except ValueError:
        return None
    date = re.fullmatch(r"/Date\((-?\d+)([+-]\d{4})?\)/", str(raw.get("DateCreated")))
    document_id = raw.get("DocumentId")
    if not raw.get("SessionId") or type(document_id) is not int or document_id < 1 or not date:
        return None
    source_ms = int(date[1])
    if not 946_684_800_000 <= source_ms <= sent_ms + 24 * HOUR_MS:
        return None
    ms, documents = source_ms + shift_ms, _documents(raw.get("Documents"))
    return Click(
        event_id=hashlib.sha256(line + f"|{shift_ms}".encode()).hexdigest(),
        session_id=raw["SessionId"],
        ms=ms,
        day=moment(ms).date(),
        document_id=document_id,
        title=_text(raw.get("Title")) or None,
        doi=_text(raw.get("DOI")) or None,
        host=urlsplit(_text(raw.get("Url"))).hostname,
        areas=_areas(raw.get("ClinicalAreas") or ""),
        query=_words(raw.get("Keywords")).lower() or None,
        documents=documents,
        rank=documents.index(document_id) + 1 if document_id in documents else None,
    )


def _documents(raw: object) -> list[int]:
    is_page = isinstance(raw, list) and len(raw) <= 20 and all(type(one) is int for one in raw)
    return raw if isinstance(raw, list) and is_page else []


def _text(raw: object) -> str:
    return _words(html.unescape(raw) if isinstance(raw, str) else "")


def _words(raw: object) -> str:
    """Without control characters, white space collapsed, half a surrogate pair replaced."""
    text = raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(raw, str) else ""
    return " ".join(text.translate(_CONTROL).split())


def _areas(labels: str) -> list[str]:
    found: list[str] = []
    for label in filter(None, map(str.strip, labels.split(","))):
        area = _KNOWN_AREAS.get(_letters(label), f"Other: {label}")
        if area not in found:
            found.append(area)
    return found or ["Unknown"]


def _letters(label: str) -> str:
    return "".join(filter(str.isalpha, label.lower()))


_KNOWN_AREAS = {_letters(area): area for area in CLINICAL_AREAS}
