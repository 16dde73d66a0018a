"""The four cold tables computed a second time: from the raw log files, by DuckDB, with no code of the jobs.

Only the list of clinical areas is shared with them. What the columns mean stands in jobs/spark/sql/001_marts.sql.
"""

import datetime as dt
import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from jobs.event import CLINICAL_AREAS

COLUMNS = {
    "session_analysis": "session_id, visit_no, event_date, click_count, unique_docs, first_click_ts, last_click_ts, "
    "session_duration_sec",
    "daily_traffic": "event_date, total_events, unique_sessions, unique_documents, peak_hour",
    "clinical_areas": "event_date, clinical_area, search_count, unique_sessions",
    "popular_documents": "event_date, document_id, title, view_count, unique_sessions",
}

_CLICKS = """
    CREATE TABLE clicks AS
    SELECT *, make_timestamp(ms * 1000) AS ts, make_timestamp(ms * 1000)::date AS event_date
    FROM (SELECT unnest($id) AS id, unnest($session_id) AS session_id, unnest($ms) AS ms,
                 unnest($document_id)::bigint AS document_id, unnest($title)::varchar AS title,
                 unnest($areas)::varchar AS areas)
"""
_TABLES = {
    "session_analysis": """
        WITH paused AS (
            SELECT *, ms - lag(ms) OVER (PARTITION BY session_id ORDER BY ms, id) > 1800000 AS after_pause FROM clicks
        ), numbered AS (
            SELECT *, 1 + count(*) FILTER (after_pause) OVER (PARTITION BY session_id ORDER BY ms, id) AS visit_no
            FROM paused
        )
        SELECT session_id, visit_no, min(ts)::date, count(*), count(DISTINCT document_id), min(ts), max(ts),
               (max(ms) - min(ms)) / 1000
        FROM numbered GROUP BY ALL""",
    "daily_traffic": """
        WITH hours AS (SELECT event_date, hour(ts) AS h, count(*) AS n FROM clicks GROUP BY ALL),
        peaks AS (SELECT event_date, first(h ORDER BY n DESC, h) AS peak_hour FROM hours GROUP BY ALL)
        SELECT event_date, count(*), count(DISTINCT session_id), count(DISTINCT document_id), any_value(peak_hour)
        FROM clicks JOIN peaks USING (event_date) GROUP BY event_date""",
    "clinical_areas": """
        SELECT event_date, area, count(*), count(DISTINCT session_id)
        FROM (SELECT *, unnest(string_split(areas, '|')) AS area FROM clicks) GROUP BY event_date, area""",
    "popular_documents": """
        SELECT event_date, document_id, last(title ORDER BY ms, id) FILTER (title IS NOT NULL), count(*),
               count(DISTINCT session_id)
        FROM clicks GROUP BY event_date, document_id""",
}


def cold_tables(
    folder: Path, shift_ms: int = 0, sent_at: dt.datetime | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """The sorted rows of each table, columns as in COLUMNS, of all `*.json` files of a folder.

    `shift_ms` moves the clicks as a replay does; `sent_at` is the time in Kafka (now by default).
    """
    sent_ms = int((sent_at or dt.datetime.now(dt.UTC)).timestamp() * 1000)
    lines = {line for path in sorted(folder.glob("*.json")) for line in path.read_bytes().split(b"\n") if line}
    clicks = [click for line in lines for click in _click(line, shift_ms, sent_ms)]
    database = duckdb.connect()
    names = ("id", "session_id", "ms", "document_id", "title", "areas")
    database.execute(_CLICKS, {name: [click[name] for click in clicks] for name in names})
    tables = {name: database.execute(query).fetchall() for name, query in _TABLES.items()}
    return {name: sorted(tuple(map(_in_utc, row)) for row in rows) for name, rows in tables.items()}


def _click(line: bytes, shift_ms: int, sent_ms: int) -> Iterator[dict[str, Any]]:
    """The click of a line, or nothing when the line is not a valid one."""
    try:
        raw = json.loads(line.decode().removeprefix("\ufeff").strip().removesuffix(","))
    except ValueError:
        return
    date = re.fullmatch(r"/Date\((-?\d+)([+-]\d{4})?\)/", str(raw.get("DateCreated")))
    document_id = raw.get("DocumentId")
    if not raw.get("SessionId") or type(document_id) is not int or document_id < 1 or not date:
        return
    ms = int(date[1])
    if not 946_684_800_000 <= ms <= sent_ms + 86_400_000:
        return
    yield {
        "id": hashlib.sha256(line + f"|{shift_ms}".encode()).hexdigest(),
        "session_id": raw["SessionId"],
        "ms": ms + shift_ms,
        "document_id": document_id,
        "title": _text(raw.get("Title")) or None,
        "areas": "|".join(_areas(raw.get("ClinicalAreas") or "")),
    }


def _text(raw: object) -> str:
    text = html.unescape(raw) if isinstance(raw, str) else ""
    return " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc").split())


def _areas(labels: str) -> list[str]:
    known = {"".join(filter(str.isalpha, area.lower())): area for area in CLINICAL_AREAS}
    found: list[str] = []
    for label in filter(None, map(str.strip, labels.split(","))):
        area = known.get("".join(filter(str.isalpha, label.lower())), f"Other: {label}")
        if area not in found:
            found.append(area)
    return found or ["Unknown"]


def _in_utc(cell: Any) -> Any:
    return cell.replace(tzinfo=dt.UTC) if isinstance(cell, dt.datetime) else cell
