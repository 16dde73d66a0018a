"""The four cold tables computed a second time: from the raw log files, by DuckDB, with no code of the jobs.

Only the list of clinical areas is shared with them. What the columns mean stands in docs/data-dictionary.md.
"""

import datetime as dt
import hashlib
import html
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

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

# What a click is, by name and DuckDB's type. `documents` and `areas` are joined by a bar, empty when there is none.
_FIELDS = {
    "id": "varchar",
    "session_id": "varchar",
    "ms": "bigint",
    "document_id": "bigint",
    "title": "varchar",
    "doi": "varchar",
    "host": "varchar",
    "areas": "varchar",
    "query": "varchar",
    "documents": "varchar",
    "rank": "integer",
    "repeats": "integer",
    "late": "boolean",
}
_CLICKS = f"""
    CREATE TABLE raw AS SELECT *, make_timestamp(ms * 1000) AS ts, make_timestamp(ms * 1000)::date AS event_date
    FROM (SELECT {", ".join(f"unnest(${name})::{kind} AS {name}" for name, kind in _FIELDS.items())});
"""
# A click with its visit v and its search s, both numbered within the session; `asked` is the visit's query before it.
_VISITS = """
    CREATE TABLE clicks AS
    WITH paused AS (
        SELECT *, ms - lag(ms) OVER w AS gap, lag(query) OVER w AS query_before FROM raw
        WINDOW w AS (PARTITION BY session_id ORDER BY ms, id)
    ), visited AS (
        SELECT *, 1 + count(*) FILTER (gap > 1800000) OVER (PARTITION BY session_id ORDER BY ms, id) AS v FROM paused
    ), searched AS (
        SELECT *, count(*) FILTER (gap IS NULL OR gap > 1800000 OR query IS DISTINCT FROM query_before)
                      OVER (PARTITION BY session_id ORDER BY ms, id) AS s,
               CASE WHEN gap <= 1800000 THEN gap END AS visit_gap
        FROM visited
    )
    SELECT *, last_value(query IGNORE NULLS) OVER (
                  PARTITION BY session_id, v ORDER BY ms, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS asked
    FROM searched;

    CREATE TABLE found AS
    SELECT session_id, v, count(*) OVER minute >= 20 OR count(*) OVER five >= 50 OR count(*) OVER same >= 10
               OR ms - min(ms) OVER visit >= 4 * 3600000
               OR (count(visit_gap) OVER ten = 10 AND avg(visit_gap) OVER ten > 0
                   AND stddev_pop(visit_gap) OVER ten / avg(visit_gap) OVER ten < 0.1) AS yes
    FROM clicks
    WINDOW minute AS (PARTITION BY session_id ORDER BY ms RANGE BETWEEN 59999 PRECEDING AND CURRENT ROW),
           five AS (PARTITION BY session_id ORDER BY ms RANGE BETWEEN 299999 PRECEDING AND CURRENT ROW),
           same AS (PARTITION BY session_id, document_id ORDER BY ms
                    RANGE BETWEEN 599999 PRECEDING AND CURRENT ROW),
           visit AS (PARTITION BY session_id, v),
           ten AS (PARTITION BY session_id, v ORDER BY ms, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW);
"""
_TABLES = {
    "session_analysis": """
        WITH per_area AS (
            SELECT session_id, v, area, count(*) AS n
            FROM (SELECT session_id, v, unnest(string_split(areas, '|')) AS area FROM clicks)
            WHERE area <> 'Unknown' GROUP BY ALL
        ), area AS (
            SELECT session_id, v, count(*) AS n, first(area ORDER BY n DESC, area) AS top FROM per_area GROUP BY ALL
        ), best AS (
            SELECT session_id, v, avg(1 / best) AS mrr
            FROM (SELECT session_id, v, s, min(rank) AS best FROM clicks GROUP BY ALL) GROUP BY ALL
        ), anomalous AS (SELECT session_id, v, bool_or(coalesce(yes, false)) AS yes FROM found GROUP BY ALL)
        SELECT session_id, v, min(ts)::date, count(*), count(DISTINCT document_id), min(ts), max(ts),
               (max(ms) - min(ms)) / 1000, count(DISTINCT query), count(DISTINCT s), count(*) FILTER (query <> asked),
               avg(rank), any_value(mrr), median(visit_gap) / 1000, coalesce(any_value(area.n), 0), any_value(top),
               count(*) = 1, any_value(yes)
        FROM clicks LEFT JOIN area USING (session_id, v) JOIN best USING (session_id, v)
        JOIN anomalous USING (session_id, v)
        GROUP BY session_id, v""",
    "daily_traffic": """
        WITH hours AS (SELECT event_date, hour(ts) AS h, count(*) AS n FROM clicks GROUP BY ALL),
        peaks AS (SELECT event_date, first(h ORDER BY n DESC, h) AS peak_hour FROM hours GROUP BY ALL),
        visits AS (SELECT min(ts)::date AS event_date, count(*) AS n, (max(ms) - min(ms)) / 1000 AS seconds
                   FROM clicks GROUP BY session_id, v),
        visited AS (
            SELECT event_date, avg((n = 1)::int) AS bounced, quantile_cont(seconds, 0.5) FILTER (n > 1) AS median,
                   quantile_cont(seconds, 0.95) FILTER (n > 1) AS p95
            FROM visits GROUP BY event_date),
        searches AS (SELECT event_date, min(rank) AS best FROM clicks WHERE rank IS NOT NULL
                     GROUP BY event_date, session_id, s),
        ranked AS (SELECT event_date, avg((best = 1)::int) AS first, avg(1 / best) AS mrr FROM searches
                   GROUP BY event_date),
        days AS (
            SELECT event_date, count(*) AS n, count(DISTINCT session_id) AS sessions,
                   count(DISTINCT document_id) AS documents, count(DISTINCT query) AS queries,
                   count(rank) / count(*) AS covered, 1 - count(query) / count(*) AS silent, sum(repeats) AS repeats,
                   count(*) FILTER (late) AS late
            FROM clicks GROUP BY event_date)
        SELECT days.event_date, days.n, days.sessions, days.documents, peak_hour, days.queries,
               days.n / days.sessions, bounced, median, p95, ranked.first, ranked.mrr, days.covered, days.silent,
               (days.n - day.n) * 100 / day.n,
               (days.n - week.n) * 100 / week.n, days.repeats::bigint, coalesce(quarantined.n, 0), days.late
        FROM days JOIN peaks USING (event_date) LEFT JOIN visited USING (event_date) LEFT JOIN ranked USING (event_date)
        LEFT JOIN quarantined USING (event_date) LEFT JOIN days AS day ON day.event_date = days.event_date - 1
        LEFT JOIN days AS week ON week.event_date = days.event_date - 7""",
    "clinical_areas": """
        WITH each AS (
            SELECT *, unnest(string_split(areas, '|')) AS area, 1 / len(string_split(areas, '|')) AS weight FROM clicks
        ), rows AS (
            SELECT event_date, area, count(*) AS n, count(DISTINCT session_id) AS sessions, sum(weight) AS weighted,
                   count(DISTINCT document_id) AS documents
            FROM each GROUP BY event_date, area
        ), days AS (SELECT event_date, count(*) AS n FROM clicks GROUP BY event_date)
        SELECT rows.event_date, rows.area, rows.n, rows.sessions, rows.weighted, rows.n / days.n, rows.documents,
               row_number() OVER (PARTITION BY rows.event_date ORDER BY rows.n DESC, rows.sessions DESC, rows.area),
               (rows.n - week.n) * 100 / week.n
        FROM rows JOIN days USING (event_date)
        LEFT JOIN rows AS week ON week.event_date = rows.event_date - 7 AND week.area = rows.area""",
    "popular_documents": """
        WITH rows AS (
            SELECT event_date, document_id, last(title ORDER BY ms, id) FILTER (title IS NOT NULL) AS title,
                   count(*) AS n, count(DISTINCT session_id) AS sessions,
                   last(doi ORDER BY ms, id) FILTER (doi IS NOT NULL) AS doi,
                   last(host ORDER BY ms, id) FILTER (host IS NOT NULL) AS host, avg(rank) AS rank
            FROM clicks GROUP BY event_date, document_id
        ), shown AS (
            SELECT DISTINCT event_date, session_id, s, unnest(string_split(documents, '|'))::bigint AS document_id
            FROM clicks WHERE documents <> ''
        ), clicked AS (
            SELECT DISTINCT event_date, session_id, s, document_id, true AS yes FROM clicks WHERE rank IS NOT NULL
        ), impressions AS (
            SELECT event_date, document_id, count(*) AS n, count(yes) / count(*) AS ctr
            FROM shown LEFT JOIN clicked USING (event_date, session_id, s, document_id) GROUP BY event_date, document_id
        )
        SELECT rows.event_date, rows.document_id, rows.title, rows.n, rows.sessions,
               row_number() OVER (PARTITION BY rows.event_date
                                  ORDER BY rows.sessions DESC, rows.n DESC, rows.document_id),
               rows.doi, rows.host, impressions.n, ctr, rows.rank, (rows.n - week.n) * 100 / week.n
        FROM rows LEFT JOIN impressions USING (event_date, document_id)
        LEFT JOIN rows AS week ON week.event_date = rows.event_date - 7 AND week.document_id = rows.document_id""",
}


class Number(float):
    """A float that equals another one that differs by 1e-9 at most, of 1 or of itself: sums depend on their order."""

    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=1e-9, abs_tol=1e-9)

    def __ne__(self, other: object) -> bool:
        return not self == other


def cold_tables(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None, again: Sequence[Path] = ()
) -> dict[str, list[tuple[Any, ...]]]:
    """The sorted rows of each table, columns as in COLUMNS, of all `*.json` files of a folder.

    `shift_ms` moves the clicks as a replay does; `sent_at` is the time in Kafka (now by default). The lines came in
    the order of the files' names, and those of `again` once more.
    """
    database = clicks_of(folder, shift_ms, sent_at, again)
    tables = {name: database.execute(query).fetchall() for name, query in _TABLES.items()}
    return {name: sorted(tuple(map(cell_of, row)) for row in rows) for name, rows in tables.items()}


def clicks_of(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None, again: Sequence[Path] = ()
) -> duckdb.DuckDBPyConnection:
    """A database with the tables `clicks` (_FIELDS, event_date, visit v, search s), `found` and `quarantined`."""
    sent_ms = int((sent_at or dt.datetime.now(dt.UTC)).timestamp() * 1000)
    files = [*sorted(folder.glob("*.json")), *again]
    lines = [line for path in files for line in path.read_bytes().split(b"\n") if line]
    clicks, quarantined = _received(lines, shift_ms, sent_ms)
    database = duckdb.connect()
    database.execute(_CLICKS, {name: [click[name] for click in clicks] for name in _FIELDS})
    database.execute("CREATE TABLE quarantined (event_date date, n bigint)")
    if quarantined:
        database.executemany("INSERT INTO quarantined VALUES (?, ?)", list(quarantined.items()))
    database.execute(_VISITS)
    return database


def _received(
    lines: Iterable[bytes], shift_ms: int, sent_ms: int
) -> tuple[list[dict[str, Any]], Counter[dt.date | None]]:
    """The clicks, each once, and how many bad lines came behind a click of each day."""
    clicks: dict[bytes, dict[str, Any]] = {}
    quarantined: Counter[dt.date | None] = Counter()
    day, newest_ms = None, Counter[dt.date]()
    for line in lines:
        if click := clicks.get(line) or _click(line, shift_ms, sent_ms):
            day = dt.datetime.fromtimestamp(click["ms"] // 1000, dt.UTC).date()
            if line in clicks:
                click["repeats"] += 1
            else:
                clicks[line] = {**click, "repeats": 0, "late": newest_ms[day] - click["ms"] > 600_000}
                newest_ms[day] = max(newest_ms[day], click["ms"])
        else:
            quarantined[day] += 1
    return list(clicks.values()), quarantined


def _click(line: bytes, shift_ms: int, sent_ms: int) -> dict[str, Any] | None:
    """The click of a line, or None when the line is not a valid one."""
    try:
        raw = json.loads(line.decode().removeprefix("\ufeff").strip().removesuffix(","))
    except ValueError:
        return None
    date = re.fullmatch(r"/Date\((-?\d+)([+-]\d{4})?\)/", str(raw.get("DateCreated")))
    document_id = raw.get("DocumentId")
    if not raw.get("SessionId") or type(document_id) is not int or document_id < 1 or not date:
        return None
    ms = int(date[1])
    if not 946_684_800_000 <= ms <= sent_ms + 86_400_000:
        return None
    documents = _documents(raw.get("Documents"))
    return {
        "id": hashlib.sha256(line + f"|{shift_ms}".encode()).hexdigest(),
        "session_id": raw["SessionId"],
        "ms": ms + shift_ms,
        "document_id": document_id,
        "title": _text(raw.get("Title")) or None,
        "doi": _text(raw.get("DOI")) or None,
        "host": urlsplit(_text(raw.get("Url"))).hostname,
        "areas": "|".join(_areas(raw.get("ClinicalAreas") or "")),
        "query": _words(raw.get("Keywords")).lower() or None,
        "documents": "|".join(map(str, documents)),
        "rank": documents.index(document_id) + 1 if document_id in documents else None,
    }


def _documents(raw: object) -> list[int]:
    is_page = isinstance(raw, list) and len(raw) <= 20 and all(type(one) is int for one in raw)
    return raw if isinstance(raw, list) and is_page else []


def _text(raw: object) -> str:
    return _words(html.unescape(raw) if isinstance(raw, str) else "")


def _words(raw: object) -> str:
    """Without control characters, white space collapsed, half a surrogate pair replaced."""
    text = raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(raw, str) else ""
    return " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc").split())


def _areas(labels: str) -> list[str]:
    known = {"".join(filter(str.isalpha, area.lower())): area for area in CLINICAL_AREAS}
    found: list[str] = []
    for label in filter(None, map(str.strip, labels.split(","))):
        area = known.get("".join(filter(str.isalpha, label.lower())), f"Other: {label}")
        if area not in found:
            found.append(area)
    return found or ["Unknown"]


def cell_of(cell: Any) -> Any:
    """A cell as psycopg has it, and a float that may differ by a rounding."""
    if isinstance(cell, float):
        return Number(cell)
    return cell.replace(tzinfo=dt.UTC) if isinstance(cell, dt.datetime) else cell
