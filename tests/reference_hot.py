"""The hot tables computed a second time: in plain Python, from the clicks of tests/reference.py.

What the columns mean is in docs/data-dictionary.md. Minutes and snapshots are those of the clicks that have come,
anomalies those of all clicks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.reference import (
    HOUR_MS,
    MINUTE_MS,
    RULES,
    Click,
    Number,
    Rule,
    Seen,
    Visit,
    distinct,
    grouped,
    latest,
    moment,
)

Rows = list[tuple[Any, ...]]
OUT_OF_ORDER_MS = 10 * MINUTE_MS


def minutes(come: Sequence[Click]) -> Rows:
    """event_minute, total_clicks, unique_sessions, unique_docs, unique_queries, is_final."""
    end = _end(come)
    rows = []
    for minute, clicks in sorted(grouped(come, lambda click: click.ms // MINUTE_MS).items()):
        is_final = (minute + 1) * MINUTE_MS + OUT_OF_ORDER_MS < end
        queries = distinct(click.query for click in clicks if click.query)
        rows.append((moment(minute * MINUTE_MS), len(clicks), *_sessions_and_documents(clicks), queries, is_final))
    return rows


def _sessions_and_documents(clicks: Sequence[Click]) -> tuple[int, int]:
    return distinct(click.session_id for click in clicks), distinct(click.document_id for click in clicks)


def top_docs(come: Sequence[Click], before: Rows, hours: int) -> Rows:
    """The snapshot of a window of `hours`, columns as in the dictionary; `before` is the last one."""
    end = _end(come)
    start = end - hours * HOUR_MS
    documents = grouped((click for click in come if click.ms >= start), lambda click: click.document_id)
    counted = sorted(
        (-len(clicks), -distinct(click.session_id for click in clicks), document)
        for document, clicks in documents.items()
    )
    ranks = {row[2]: row[1] for row in before}
    found = []
    for rank, (clicks, sessions, document) in enumerate(counted[:20], 1):
        title = latest(documents[document], lambda click: click.title)
        gained = ranks[document] - rank if document in ranks else None
        window = moment(start), moment(end)
        found.append((moment(end), rank, document, title, -clicks, -sessions, *window, gained))
    return found


def clinical_trend(come: Sequence[Click]) -> Rows:
    """The snapshot, columns as in the dictionary."""
    end = _end(come)
    now = [click for click in come if click.ms >= end - 24 * HOUR_MS]
    before = [click for click in come if end - 48 * HOUR_MS <= click.ms < end - 24 * HOUR_MS]
    areas = sorted({area for click in (*now, *before) for area in click.areas})
    return [(moment(end), area, *_trend(area, now, before)) for area in areas]


def _trend(area: str, now: Sequence[Click], before: Sequence[Click]) -> tuple[Any, ...]:
    """click_count, unique_sessions, trend_pct, prev_click_count, is_new, share."""
    clicks = [click for click in now if area in click.areas]
    count, count_before = len(clicks), sum(area in click.areas for click in before)
    percent = Number((count - count_before) * 100 / count_before) if count_before else None
    sessions = distinct(click.session_id for click in clicks)
    return count, sessions, percent, count_before, not count_before, Number(count / len(now))


def _end(come: Sequence[Click]) -> int:
    """The snapshot (epoch ms): the end of the newest click's minute."""
    return (max(click.ms for click in come) // MINUTE_MS + 1) * MINUTE_MS


def anomalies(visits: Sequence[Visit]) -> Rows:
    """session_id, rule_id, window_start, window_end, click_count, severity, metric_value, threshold, sorted."""
    sessions = grouped(visits, lambda visit: visit[0].session_id)
    return sorted(
        (session_id, rule.rule_id, *found)
        for session_id, theirs in sessions.items()
        for rule in RULES
        for found in _found(rule, [series for visit in theirs for series in rule.look(visit)])
    )


def _found(rule: Rule, of_session: Sequence[list[Seen]]) -> Rows:
    """What a rule finds in a session; a click that reaches both levels at once is CRITICAL only."""
    critical = [seen for series in of_session for seen in rule.first(rule.critical, series)]
    warning = [seen for series in of_session for seen in rule.first(rule.warning, series) if seen not in critical]
    levels = ("CRITICAL", rule.critical, critical), ("WARNING", rule.warning, warning)
    return [
        (moment(one.start_ms), moment(one.end_ms), one.click_count, severity, Number(one.metric), Number(level))
        for severity, level, seen in levels
        for one in _apart(seen)
    ]


def _apart(found: Sequence[Seen]) -> Iterator[Seen]:
    """Of those that overlap, on one document and on another, the first."""
    reached = 0
    for seen in sorted(found, key=lambda seen: seen.end_ms):
        if seen.start_ms >= reached:
            reached = seen.end_ms
            yield seen
