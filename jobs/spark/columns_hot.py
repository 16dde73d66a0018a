"""The hot tables and their columns, and the hot stream's own book-keeping."""

from typing import Final

from jobs.spark import tables
from jobs.spark.columns import Column, Table

_SNAPSHOT: Final = Column("snapshot_ts", "timestamptz", "End of the minute of the newest event_ts that was seen")
_SESSIONS: Final = Column("unique_sessions", "bigint", "Distinct session_id of these clicks", "sessions")
_SUMS: Final = "do not add them up over minutes"

TRAFFIC_MINUTE: Final = Table(
    tables.TRAFFIC_MINUTE,
    "One row a minute of event time with clicks. Hot: the whole minute, however many micro-batches it came in.",
    ("event_minute",),
    (
        Column("event_minute", "timestamptz", "Start of the minute of event_ts"),
        Column("total_clicks", "bigint", "Clicks, each counted once however often it was sent", "clicks"),
        Column("unique_sessions", "bigint", f"Distinct session_id; {_SUMS}", "sessions"),
        Column("unique_docs", "bigint", f"Distinct documents that were clicked; {_SUMS}", "documents"),
        Column("updated_at", "timestamptz", "When this row was last written (clock of the database)"),
    ),
)

TOP_DOCS: Final = Table(
    tables.TOP_DOCS,
    "The 20 most clicked documents of the hour of event time before a snapshot. Hot: a snapshot a micro-batch.",
    ("snapshot_ts", "rank"),
    (
        _SNAPSHOT,
        Column("rank", "smallint", "From 1: by click_count, then unique_sessions (both descending), then document_id"),
        Column("document_id", "bigint", "DocumentId of the log"),
        Column("title", "text", "The hour's latest title that is not empty, uncut; NULL when there is none"),
        Column("click_count", "bigint", "Clicks on the document", "clicks"),
        _SESSIONS,
    ),
)

CLINICAL_TREND: Final = Table(
    tables.CLINICAL_TREND,
    "Clicks by clinical area in the 24 hours of event time before a snapshot. Hot: a snapshot a micro-batch.",
    ("snapshot_ts", "clinical_area"),
    (
        _SNAPSHOT,
        Column("clinical_area", "text", "As in clinical_areas; every area with clicks in the last 48 hours"),
        Column(
            "click_count",
            "bigint",
            "Clicks in this area; 0 when it had some in the 24 hours before only",
            "clicks",
        ),
        _SESSIONS,
        Column(
            "trend_pct",
            "double precision",
            "Change against the 24 hours before; NULL when there was no click then",
            "%",
        ),
    ),
)

ANOMALY_SESSIONS: Final = Table(
    tables.ANOMALY_SESSIONS,
    "One row a burst of a session, rule and severity: one that grows is a WARNING, then a CRITICAL. "
    "Hot: rows are added, never changed.",
    ("session_id", "rule_id", "window_start"),
    (
        Column("detected_ts", "timestamptz", "When the row was written (clock of the database)"),
        Column("session_id", "text", "SessionId of the log"),
        Column("rule_id", "text", "clicks_5m: clicks in a sliding 5 minutes, 50 are a WARNING, 100 CRITICAL"),
        Column("window_start", "timestamptz", "Start of the sliding window, itself not in it"),
        Column("window_end", "timestamptz", "event_ts of the click that reached the threshold"),
        Column("click_count", "bigint", "Clicks in the window, that one included", "clicks"),
        Column("severity", "text", "WARNING or CRITICAL"),
    ),
)

BATCHES: Final = Table(
    "mart_realtime_batches",
    "The last micro-batch that is in the hot tables, for each checkpoint: a batch that runs again changes nothing.",
    ("query_id",),
    (
        Column("query_id", "text", "Id of the checkpoint, made by Spark"),
        Column("batch_id", "bigint", "Its last micro-batch that is in the hot tables"),
        Column("max_event_ts", "timestamptz", "The newest event_ts of all batches until then"),
        Column("updated_at", "timestamptz", "When that batch was written (clock of the database)"),
    ),
)

HOT: Final = (TRAFFIC_MINUTE, TOP_DOCS, CLINICAL_TREND, ANOMALY_SESSIONS)
