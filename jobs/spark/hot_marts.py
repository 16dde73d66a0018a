"""The hot tables as SQL over RecentClicks, at a snapshot; rows have the form of PostgreSQL's tables.

A snapshot is the end of a minute, and every window is [start, end): the hour before it is 60 rows of the minutes.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.event import UNKNOWN_AREA
from jobs.spark.anomaly_rules import TIMED, found
from jobs.spark.moments import micros
from jobs.spark.recent_clicks import MINUTE
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TOP_DOCS_DAY, TRAFFIC_MINUTE
from jobs.spark.visits import VISITS

if TYPE_CHECKING:
    from jobs.spark.recent_clicks import RecentClicks

ONE_MINUTE: Final = dt.timedelta(minutes=1)
HOUR: Final = dt.timedelta(hours=1)
DAY: Final = dt.timedelta(hours=24)
HORIZON: Final = 2 * DAY  # clicks this much older than the newest one are left to the cold marts
TOP: Final = 20
FINAL_AFTER: Final = dt.timedelta(minutes=10)  # clicks merely out of order are less late


class Rows(NamedTuple):
    """Rows of a table and the names of their columns; moments are in UTC."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def snapshot_of(clock: dt.datetime) -> dt.datetime:
    """The snapshot_ts of a clock: the end of its minute."""
    return clock.replace(second=0, microsecond=0) + ONE_MINUTE


def final_before(snapshot: dt.datetime) -> dt.datetime:
    """Minutes that begin before this moment are final at a snapshot."""
    return snapshot - FINAL_AFTER - ONE_MINUTE


def compute(clicks: RecentClicks, snapshot: dt.datetime) -> dict[str, Rows]:
    """The rows to write to each table: of affected minutes and sessions, and the snapshots."""
    queries = {
        TRAFFIC_MINUTE: traffic_minute,
        TOP_DOCS: top_docs_1h,
        TOP_DOCS_DAY: top_docs_24h,
        CLINICAL_TREND: clinical_trend_24h,
        ANOMALY_SESSIONS: anomaly_sessions,
    }
    return {table: rows(clicks, query(snapshot)) for table, query in queries.items()}


def rows(clicks: RecentClicks, query: str) -> Rows:
    """The result of the SQL `query` on recent and touched: its columns and rows, moments in UTC."""
    found = clicks.sql(query)
    columns = [name for name, *_ in found.description or ()]
    return Rows(columns, [tuple(map(_in_utc, row)) for row in found.fetchall()])


def _in_utc(cell: Any) -> Any:
    return cell.replace(tzinfo=dt.UTC) if isinstance(cell, dt.datetime) else cell


def between(start: dt.datetime, end: dt.datetime) -> str:
    """Whether event_ts is in [start, end)."""
    return f"event_ts >= {micros(start)} AND event_ts < {micros(end)}"


def _moment(moment: dt.datetime) -> str:
    return f"make_timestamp({micros(moment)})"


def traffic_minute(snapshot: dt.datetime) -> str:
    """Of whole minutes: event_minute, total_clicks, unique_sessions, unique_docs, unique_queries, is_final."""
    return f"""
SELECT make_timestamp(event_ts // {MINUTE} * {MINUTE}) AS event_minute,
    count(*) AS total_clicks,
    count(DISTINCT session_id) AS unique_sessions,
    count(DISTINCT document_id) AS unique_docs,
    count(DISTINCT query) AS unique_queries,
    event_minute < {_moment(final_before(snapshot))} AS is_final
FROM recent
WHERE {between(snapshot - HORIZON, snapshot)} AND event_ts // {MINUTE} IN (SELECT minute FROM touched)
GROUP BY event_minute
"""


def top_docs_1h(snapshot: dt.datetime) -> str:
    """Those of the hour before the snapshot; see _top_docs."""
    return _top_docs(snapshot, HOUR)


def top_docs_24h(snapshot: dt.datetime) -> str:
    """Those of the 24 hours before the snapshot; see _top_docs."""
    return _top_docs(snapshot, DAY)


def _top_docs(snapshot: dt.datetime, window: dt.timedelta) -> str:
    """snapshot_ts, rank, document_id, title, click_count, unique_sessions, window_start, window_end: the TOP documents.

    rank_delta needs the previous snapshot, which only PostgreSQL has.
    """
    return f"""
WITH counted AS (
    SELECT document_id,
        arg_max(title, (event_ts, event_id)) FILTER (title <> '') AS title,
        count(*) AS click_count,
        count(DISTINCT session_id) AS unique_sessions
    FROM recent
    WHERE {between(snapshot - window, snapshot)}
    GROUP BY document_id
)
SELECT {_moment(snapshot)} AS snapshot_ts,
    row_number() OVER (ORDER BY click_count DESC, unique_sessions DESC, document_id) AS rank,
    document_id, title, click_count, unique_sessions,
    {_moment(snapshot - window)} AS window_start,
    {_moment(snapshot)} AS window_end
FROM counted
ORDER BY rank
LIMIT {TOP}
"""


def clinical_trend_24h(snapshot: dt.datetime) -> str:
    """snapshot_ts, clinical_area, click_count, unique_sessions, trend_pct, prev_click_count, is_new, share.

    The 24 hours before the snapshot, their change against the 24 before those, and the share of all their clicks.
    """
    now = between(snapshot - DAY, snapshot)
    return f"""
WITH counted AS (
    SELECT clinical_area,
        count_if(is_now) AS click_count,
        count(DISTINCT session_id) FILTER (is_now) AS unique_sessions,
        count_if(NOT is_now) AS prev_click_count
    FROM (
        SELECT session_id, {now} AS is_now,
            unnest(CASE WHEN len(clinical_areas) > 0 THEN clinical_areas ELSE ['{UNKNOWN_AREA}'] END) AS clinical_area
        FROM recent
        WHERE {between(snapshot - HORIZON, snapshot)}
    )
    GROUP BY clinical_area
)
SELECT {_moment(snapshot)} AS snapshot_ts, clinical_area, click_count, unique_sessions,
    (click_count - prev_click_count) * 100 / nullif(prev_click_count, 0) AS trend_pct,
    prev_click_count,
    prev_click_count = 0 AND click_count > 0 AS is_new,
    click_count / nullif((SELECT count(*) FROM recent WHERE {now}), 0) AS share
FROM counted
"""


def anomaly_sessions(snapshot: dt.datetime) -> str:
    """session_id, rule_id, window_start, window_end, click_count, metric_value, threshold, severity: see `found`.

    At the horizon earlier clicks are missing, so a burst or visit would seem to begin later than it did.
    """
    horizon = snapshot - HORIZON
    return f"""
WITH clicks AS (
    SELECT session_id, event_id, event_ts, event_ts // 1000 AS ms, document_id, query
    FROM recent
    WHERE {between(horizon, snapshot)} AND session_id IN (SELECT session_id FROM touched)
), visits AS ({VISITS}), timed AS ({TIMED}), found AS ({found(micros(horizon) // 1000)})
SELECT * REPLACE (make_timestamp(window_start::BIGINT) AS window_start, make_timestamp(window_end) AS window_end)
FROM found
"""
