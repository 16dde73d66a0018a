"""The four hot tables computed a second time: by DuckDB, from the clicks of tests/reference.py, with no job's code.

What the columns mean stands in docs/data-dictionary.md. Minutes and snapshots are those of the clicks that have come,
anomalies those of all clicks.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import duckdb

from tests.reference import cell_of

Rows = list[tuple[Any, ...]]
MINUTE = 60_000
WINDOWS = {  # rule: milliseconds, what else the clicks have in common, WARNING, CRITICAL
    "clicks_5m": (5 * MINUTE, "", 50, 100),
    "clicks_1m": (MINUTE, "", 20, 40),
    "same_document_10m": (10 * MINUTE, ", document_id", 10, 30),
}
_MINUTES = """
    SELECT date_trunc('minute', ts) AS minute, count(*), count(DISTINCT session_id), count(DISTINCT document_id),
           count(DISTINCT query), epoch_ms(minute) < $end - 11 * 60000
    FROM come GROUP BY minute ORDER BY minute"""
_TOP = """
    SELECT document_id, last(title ORDER BY ms, id) FILTER (title IS NOT NULL) AS title,
           count(*) AS n, count(DISTINCT session_id) AS sessions
    FROM come WHERE ms >= $end - 3600000 GROUP BY document_id ORDER BY n DESC, sessions DESC, document_id LIMIT 20"""
_TREND = """
    WITH days AS (SELECT *, ms >= $end - 86400000 AS now FROM come WHERE ms >= $end - 2 * 86400000),
    counted AS (
        SELECT area, count(*) FILTER (now) AS n, count(DISTINCT session_id) FILTER (now) AS sessions,
               count(*) FILTER (NOT now) AS n_before
        FROM (SELECT *, unnest(string_split(areas, '|')) AS area FROM days) GROUP BY area)
    SELECT make_timestamp($end * 1000), area, n, sessions, (n - n_before) * 100 / nullif(n_before, 0), n_before,
           n_before = 0 AND n > 0, n / (SELECT count(*) FROM days WHERE now)
    FROM counted ORDER BY area"""
_SLIDING = """
    WITH counted AS (
        SELECT *, count(*) OVER (PARTITION BY session_id{key} ORDER BY ms
                                 RANGE BETWEEN {length} - 1 PRECEDING AND CURRENT ROW) AS n FROM clicks
    ), before AS (
        SELECT *, max(n) OVER (PARTITION BY session_id{key} ORDER BY ms
                               RANGE BETWEEN {length} - 1 PRECEDING AND 1 PRECEDING) AS most FROM counted)
    SELECT DISTINCT session_id, ms - {length}, ms, n, n FROM before
    WHERE n >= {level} AND coalesce(most, 0) < {level}"""
_STEADY = """
    SELECT session_id, first(ms - total ORDER BY ms, id), min(ms), 11, first(variation ORDER BY ms, id)
    FROM (SELECT *, sum(visit_gap) OVER ten AS total, count(visit_gap) OVER ten AS gaps,
                 stddev_pop(visit_gap) OVER ten / avg(visit_gap) OVER ten AS variation
          FROM clicks
          WINDOW ten AS (PARTITION BY session_id, v ORDER BY ms, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW))
    WHERE gaps = 10 AND total > 0 AND variation < {level} GROUP BY session_id, v"""
_LONG = """
    SELECT session_id, first(began ORDER BY ms, id), min(ms), first(n ORDER BY ms, id),
           first((ms - began) / 3600000 ORDER BY ms, id)
    FROM (SELECT *, min(ms) OVER visit AS began, count(*) OVER visit AS n FROM clicks
          WINDOW visit AS (PARTITION BY session_id, v ORDER BY ms, id ROWS UNBOUNDED PRECEDING))
    WHERE ms - began >= {level} * 3600000 GROUP BY session_id, v"""


def come(clicks: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> None:
    """Clicks of these ids have come."""
    known = "CREATE OR REPLACE TABLE come AS SELECT * FROM clicks WHERE id IN (SELECT unnest($ids))"
    clicks.execute(known, {"ids": list(ids)})


def minutes(clicks: duckdb.DuckDBPyConnection) -> Rows:
    """event_minute, total_clicks, unique_sessions, unique_docs, unique_queries, is_final."""
    return [tuple(map(cell_of, row)) for row in clicks.execute(_MINUTES, {"end": _end(clicks)}).fetchall()]


def top_docs(clicks: duckdb.DuckDBPyConnection, before: Rows) -> Rows:
    """The snapshot, columns as in the dictionary; `before` is the last one."""
    end = _end(clicks)
    ranks = {row[2]: row[1] for row in before}
    found = []
    for rank, row in enumerate(clicks.execute(_TOP, {"end": end}).fetchall(), start=1):
        gained = ranks[row[0]] - rank if row[0] in ranks else None
        found.append((_moment(end), rank, *row, _moment(end - 60 * MINUTE), _moment(end), gained))
    return found


def clinical_trend(clicks: duckdb.DuckDBPyConnection) -> Rows:
    """The snapshot, columns as in the dictionary."""
    return [tuple(map(cell_of, row)) for row in clicks.execute(_TREND, {"end": _end(clicks)}).fetchall()]


def _end(clicks: duckdb.DuckDBPyConnection) -> int:
    """The snapshot (epoch ms): the end of the newest click's minute."""
    ((newest,),) = clicks.execute("SELECT max(ms) FROM come").fetchall()
    return int(newest // MINUTE + 1) * MINUTE


def anomalies(clicks: duckdb.DuckDBPyConnection) -> Rows:
    """session_id, rule_id, window_start, window_end, click_count, severity, metric_value, threshold, sorted."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for severity in ("CRITICAL", "WARNING"):
        for rule, level, rows in _levels(clicks, severity == "CRITICAL"):
            reached: dict[str, int] = {}  # the last burst's end by session
            for session, start, end, count, metric in sorted(rows, key=lambda row: row[2]):
                is_critical_too = (session, rule, start, end, "CRITICAL") in found
                if not is_critical_too and start >= reached.get(session, 0):
                    reached[session] = end
                    cells = (_moment(start), _moment(end), count, severity, float(metric), float(level))
                    found[session, rule, start, end, severity] = tuple(map(cell_of, (session, rule, *cells)))
    return sorted(found.values())


def _levels(clicks: duckdb.DuckDBPyConnection, is_critical: bool) -> list[tuple[str, float, Rows]]:
    queries: list[tuple[str, float, str]] = []
    for rule, (length, key, warning, critical) in WINDOWS.items():
        level = critical if is_critical else warning
        queries.append((rule, level, _SLIDING.format(length=length, key=key, level=level)))
    steady, hours = (0.03, 8) if is_critical else (0.1, 4)
    queries.append(("steady_gaps", steady, _STEADY.format(level=steady)))
    queries.append(("long_activity", hours, _LONG.format(level=hours)))
    return [(rule, level, clicks.execute(query).fetchall()) for rule, level, query in queries]


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC) + dt.timedelta(milliseconds=ms % 1000)
