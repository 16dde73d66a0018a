"""Curated clicks as the marts see them: each once, in visits and searches. DuckDB SQL: see partition_sql."""

from __future__ import annotations

from typing import Final

VISIT_PAUSE_MS: Final = 30 * 60 * 1000

# The rows of `input` that repeat a click: a resend and an exact duplicate line have its event_id, session and time. The
# first copy in Kafka counts.
REPEATS: Final = """
SELECT rowid AS id
FROM input
WHERE event_id IN (SELECT event_id FROM input GROUP BY event_id HAVING count(*) > 1)
QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY kafka_ts, topic, "partition", "offset", event_ts) > 1
"""


def deduplicated(columns: str) -> str:
    """The clicks of `input` without `repeats`: these columns, ms (event_ts in milliseconds) and id, a row's number."""
    return f"""
SELECT {columns}, event_ts // 1000 AS ms, rowid AS id
FROM input
WHERE rowid NOT IN (FROM repeats)
"""


# The clicks of `clicks`, with
# session_clicks: how many clicks the session has;
# visit_no: from 1 within a session; a pause of more than 30 minutes starts a new visit;
# gap_ms: since the visit's click before;
# search_no: from 1 within a session; a different or empty query, or a new visit, starts a new search;
# is_reformulation: the query differs from the visit's last one.
VISITS: Final = f"""
WITH paused AS (
    SELECT *,
        count(*) OVER (PARTITION BY session_id) AS session_clicks,
        ms - lag(ms) OVER session AS pause_ms,
        lag(query) OVER session AS query_before
    FROM clicks
    WINDOW session AS (PARTITION BY session_id ORDER BY event_ts, event_id)
), gapped AS (
    SELECT * EXCLUDE (pause_ms), CASE WHEN pause_ms <= {VISIT_PAUSE_MS} THEN pause_ms END AS gap_ms FROM paused
), numbered AS (
    SELECT * EXCLUDE (query_before),
        count_if(gap_ms IS NULL) OVER session AS visit_no,
        count_if(gap_ms IS NULL OR query IS DISTINCT FROM query_before) OVER session AS search_no
    FROM gapped
    WINDOW session AS (PARTITION BY session_id ORDER BY event_ts, event_id ROWS UNBOUNDED PRECEDING)
)
SELECT *, coalesce(query <> last_value(query IGNORE NULLS) OVER before, false) AS is_reformulation
FROM numbered
WINDOW before AS (
    PARTITION BY session_id, visit_no ORDER BY event_ts, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
"""


def in_visits(columns: str) -> dict[str, str]:
    """The queries from `input` to `visits`, for clicks with these columns, which include those that VISITS uses."""
    return {"repeats": REPEATS, "clicks": deduplicated(columns), "visits": VISITS}
