"""Where each table of the lake is below its root folder, and what the two streams write. Imports no Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def _schema(columns: Mapping[str, str]) -> str:
    """Columns as DDL text, for `spark.createDataFrame(rows, schema)`."""
    return ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())


# Below --curated-path
CLICKS: Final = "clicks"
QUARANTINE: Final = "quarantine"
# Below --archive-path
ARCHIVE: Final = "clicks"
# Below --mart-path
SESSION_ANALYSIS: Final = "session_analysis"
DAILY_TRAFFIC: Final = "daily_traffic"
CLINICAL_AREAS: Final = "clinical_areas"
POPULAR_DOCUMENTS: Final = "popular_documents"
MART_PARTITION: Final = "event_month"  # of event_date; a column of the lake only
COLD_MARTS: Final = (SESSION_ANALYSIS, DAILY_TRAFFIC, CLINICAL_AREAS, POPULAR_DOCUMENTS)
# Below its folder SEARCH: what people search for, and the searches that it is made of, which stay in the lake
SEARCH: Final = "search"
SEARCHES: Final = "searches"
LONGEST_QUERY: Final = 300  # characters, of one that has a row of its own: PostgreSQL indexes 2,700 bytes at most
CLICK_POSITIONS: Final = "click_positions"
SEARCH_QUALITY: Final = "search_quality"
POPULAR_QUERIES: Final = "popular_queries"
QUERY_CHANGE_DAYS: Final = "query_change_days"
HOURLY_TRAFFIC: Final = "hourly_traffic"
QUERY_CHANGES: Final = "query_changes"
QUERY_DOCUMENTS: Final = "query_documents"
TRENDING: Final = "trending"
SEARCH_MARTS: Final = (
    *(CLICK_POSITIONS, SEARCH_QUALITY, POPULAR_QUERIES, QUERY_CHANGE_DAYS, HOURLY_TRAFFIC),
    *(QUERY_CHANGES, QUERY_DOCUMENTS, TRENDING),
)
# In PostgreSQL, beside the cold marts
TRAFFIC_MINUTE: Final = "mart_realtime_traffic_minute"
TOP_DOCS: Final = "mart_realtime_top_docs_1h"
TOP_DOCS_DAY: Final = "mart_realtime_top_docs_24h"
CLINICAL_TREND: Final = "mart_realtime_clinical_trend_24h"
ANOMALY_SESSIONS: Final = "mart_realtime_anomaly_sessions"
HOT_MARTS: Final = (TRAFFIC_MINUTE, TOP_DOCS, TOP_DOCS_DAY, CLINICAL_TREND, ANOMALY_SESSIONS)

# A record's place in Kafka; in all three tables.
_RECORD: Final = {"topic": "string", "partition": "int", "offset": "bigint", "kafka_ts": "timestamp"}
# kafka_ts is in it because a topic that was deleted and recreated counts its offsets from 0 again.
PLACE: Final = list(_RECORD)

CLICKS_COLUMNS: Final = {
    "event_id": "string",
    "session_id": "string",
    "event_ts": "timestamp",
    "source_ts": "timestamp",
    "event_date": "date",  # of event_ts, UTC
    "document_id": "bigint",
    "title": "string",
    "url": "string",
    "doi": "string",
    "clinical_areas": "array<string>",  # canonical names; empty if there is none
    "query": "string",
    "documents": "array<bigint>",  # empty if there is none
    "click_rank": "int",
    **_RECORD,
}
CLICKS_SCHEMA: Final = _schema(CLICKS_COLUMNS)

QUARANTINE_COLUMNS: Final = {
    **_RECORD,
    "key": "binary",
    "value": "binary",
    "shift_ms": "bigint",
    "reason": "string",
    "contract_version": "int",
    "quarantined_ts": "timestamp",
}
QUARANTINE_SCHEMA: Final = _schema(QUARANTINE_COLUMNS)

# A record after the contract's check: a click, or what is quarantined of any other record.
CHECKED_COLUMNS: Final = {
    **CLICKS_COLUMNS,
    "key": "binary",
    "value": "binary",
    "shift_ms": "bigint",
    "reason": "string",  # null for a click
}

ARCHIVE_COLUMNS: Final = {
    **_RECORD,
    "key": "binary",
    "value": "binary",
    "headers": "array<struct<key: string, value: binary>>",
    "archive_date": "date",  # of kafka_ts, UTC
}


def table_path(root: str, table: str) -> str:
    """The folder of a table, or of a stream's checkpoint, below its root."""
    return f"{root.rstrip('/')}/{table}"


def sql_name(path: str) -> str:
    """The Delta table in this folder, as SQL names it."""
    return f"delta.`{path.replace('`', '``')}`"
