"""The hot tables and their columns, and the hot stream's own book-keeping."""

from __future__ import annotations

from typing import Final

from jobs.spark import tables
from jobs.spark.anomaly_rules import RULES
from jobs.spark.columns import Column, Table

_SNAPSHOT: Final = Column(
    "snapshot_ts",
    "timestamptz",
    "End of the minute of the newest event_ts seen so far, taken as no later than the time at which Kafka received the "
    "click; a click dated more than 10 minutes ahead of that time is ignored here",
)
_WRITTEN: Final = Column("written_at", "timestamptz", "When this row was written (clock of the database)")
_SESSIONS: Final = Column("unique_sessions", "bigint", "Distinct session_id of these clicks", "sessions")
_SUMS: Final = "do not add them up over minutes"

TRAFFIC_MINUTE: Final = Table(
    tables.TRAFFIC_MINUTE,
    "One row per minute of event time with clicks. Hot: the complete minute, however many micro-batches it spans.",
    ("event_minute",),
    (
        Column("event_minute", "timestamptz", "Start of the minute of event_ts"),
        Column("total_clicks", "bigint", "Clicks, each counted once however often it was sent", "clicks"),
        Column("unique_sessions", "bigint", f"Distinct session_id; {_SUMS}", "sessions"),
        Column("unique_docs", "bigint", f"Distinct documents that were clicked; {_SUMS}", "documents"),
        Column("updated_at", "timestamptz", "When this row was last written (clock of the database)"),
        Column(
            "unique_queries",
            "bigint",
            f"Distinct queries (normalised Keywords), empty ones not counted; {_SUMS}",
            "queries",
        ),
        Column(
            "is_final",
            "boolean",
            "A click more than 10 minutes after this minute has been seen: clicks that are merely out of order no "
            "longer change it, but one that arrives even later still corrects it",
        ),
    ),
)


def _top_docs(name: str, window: str) -> Table:
    return Table(
        name,
        f"The 20 most clicked documents of the {window} of event time before a snapshot. Hot: one snapshot per "
        "micro-batch.",
        ("snapshot_ts", "rank"),
        (
            _SNAPSHOT,
            Column(
                "rank", "smallint", "From 1: by click_count, then unique_sessions (both descending), then document_id"
            ),
            Column("document_id", "bigint", "DocumentId of the log"),
            Column(
                "title", "text", f"The latest title in the {window} that is not empty, uncut; NULL when there is none"
            ),
            Column("click_count", "bigint", "Clicks on the document", "clicks"),
            _SESSIONS,
            Column("window_start", "timestamptz", f"Start of the {window} (included)"),
            Column("window_end", "timestamptz", f"End of the {window} (excluded): snapshot_ts"),
            Column(
                "rank_delta",
                "integer",
                "Ranks gained since the previous snapshot, negative when lost; NULL when the document was not in that "
                "one",
                "places",
            ),
            _WRITTEN,
        ),
    )


TOP_DOCS: Final = _top_docs(tables.TOP_DOCS, "hour")
TOP_DOCS_DAY: Final = _top_docs(tables.TOP_DOCS_DAY, "24 hours")

CLINICAL_TREND: Final = Table(
    tables.CLINICAL_TREND,
    "Clicks by clinical area in the 24 hours of event time before a snapshot. Hot: one snapshot per micro-batch.",
    ("snapshot_ts", "clinical_area"),
    (
        _SNAPSHOT,
        Column("clinical_area", "text", "As in clinical_areas; every area with clicks in the last 48 hours"),
        Column(
            "click_count",
            "bigint",
            "Clicks in this area; 0 when it had clicks only in the 24 hours before",
            "clicks",
        ),
        _SESSIONS,
        Column(
            "trend_pct",
            "double precision",
            "Change from the 24 hours before; NULL when there was no click then",
            "%",
        ),
        Column("prev_click_count", "bigint", "Clicks in this area in the 24 hours before those", "clicks"),
        Column("is_new", "boolean", "It has clicks, and had none in the 24 hours before"),
        Column(
            "share",
            "double precision",
            "click_count / all clicks of the 24 hours; with clicks of several areas a snapshot adds up to more than 1",
            "0 to 1",
        ),
        _WRITTEN,
    ),
)

ANOMALY_SESSIONS: Final = Table(
    tables.ANOMALY_SESSIONS,
    "One row per burst or visit of a session, rule and severity reached: a burst that grows is first a WARNING, then a "
    "CRITICAL. Hot: rows are added, never changed.",
    ("session_id", "rule_id", "window_start", "severity"),
    (
        Column("detected_ts", "timestamptz", "When the row was written (clock of the database)"),
        Column("session_id", "text", "SessionId of the log"),
        Column("rule_id", "text", f"One of {', '.join(rule.rule_id for rule in RULES)}: see Anomaly rules"),
        Column(
            "window_start",
            "timestamptz",
            "Start of what the rule looks at: its sliding window (excluded), the steady clicks or the visit",
        ),
        Column("window_end", "timestamptz", "event_ts of the click that reached the threshold"),
        Column("click_count", "bigint", "Clicks from window_start to window_end", "clicks"),
        Column("severity", "text", "WARNING or CRITICAL"),
        Column("metric_value", "double precision", "The rule's metric at window_end"),
        Column("threshold", "double precision", "The level of this severity"),
    ),
)

BATCHES: Final = Table(
    "mart_realtime_batches",
    "The last micro-batch in the hot tables, for each curated table: a batch that runs again changes nothing.",
    ("query_id",),
    (
        Column("query_id", "text", "Id of the curated table, created by Delta"),
        Column("batch_id", "bigint", "Its last version in the hot tables"),
        Column("max_event_ts", "timestamptz", "The clock of the hot tables then: see snapshot_ts"),
        Column("updated_at", "timestamptz", "When that batch was written (clock of the database)"),
        Column("written_by", "text", "The run id of the DAG that wrote it; NULL when it was started by hand"),
    ),
)

HOT: Final = (TRAFFIC_MINUTE, TOP_DOCS, TOP_DOCS_DAY, CLINICAL_TREND, ANOMALY_SESSIONS)
