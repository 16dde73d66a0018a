"""The cold tables and their columns. A count of nothing is 0; a metric without a base is NULL, never 0."""

from __future__ import annotations

from typing import Final

from jobs.spark import tables
from jobs.spark.columns import Column, Table

_DAY: Final = Column("event_date", "date", "UTC date of event_ts")
_SESSIONS: Final = Column("unique_sessions", "bigint", "Distinct session_id of these clicks", "sessions")
_VISIT_RANK: Final = "Mean rank of the clicked documents on their result pages, from 1; NULL when no page is known"

SESSION_ANALYSIS: Final = Table(
    tables.SESSION_ANALYSIS,
    "One row per visit: a session's clicks with pauses of at most 30 minutes, not cut at midnight. "
    "Cold: recomputed daily.",
    ("session_id", "visit_no"),
    (
        Column("session_id", "text", "SessionId of the log; one that returns after a pause has several visits"),
        Column("visit_no", "integer", "Number of the visit within its session, from 1"),
        Column("event_date", "date", "UTC date of the visit's first click"),
        Column("click_count", "bigint", "Clicks, each counted once however often it was sent", "clicks"),
        Column("unique_docs", "bigint", "Distinct documents that were clicked", "documents"),
        Column("first_click_ts", "timestamptz", "event_ts of the first click"),
        Column("last_click_ts", "timestamptz", "event_ts of the last click"),
        Column("session_duration_sec", "double precision", "From the first click to the last; 0 for one click", "s"),
        Column("query_count", "bigint", "Distinct queries (normalised Keywords), empty ones not counted", "queries"),
        Column("search_count", "bigint", "Searches: runs of clicks with the same query, or with none", "searches"),
        Column(
            "reformulation_count",
            "bigint",
            "Times that the query changed; clicks without a query are ignored",
            "changes",
        ),
        Column("avg_click_rank", "double precision", _VISIT_RANK, "place"),
        Column(
            "mrr",
            "double precision",
            "Mean reciprocal rank: mean over searches of 1 / the best rank clicked; NULL when no result page is known",
            "0 to 1",
        ),
        Column("median_gap_sec", "double precision", "Median pause between two clicks; NULL for one click", "s"),
        Column("distinct_areas", "bigint", "Distinct clinical areas of the clicks, Unknown not counted", "areas"),
        Column(
            "top_area",
            "text",
            "Clinical area with the most clicks, in a tie the first by name; NULL when no click has one",
        ),
        Column("is_bounce", "boolean", "The visit is one click"),
        Column("is_anomalous", "boolean", "At least one anomaly rule reports a WARNING or CRITICAL for it"),
    ),
)

DAILY_TRAFFIC: Final = Table(
    tables.DAILY_TRAFFIC,
    "One row per UTC day with clicks. Cold: recomputed daily.",
    ("event_date",),
    (
        _DAY,
        Column("total_events", "bigint", "Clicks, each counted once however often it was sent", "clicks"),
        Column("unique_sessions", "bigint", "Distinct session_id of the day's clicks", "sessions"),
        Column("unique_documents", "bigint", "Distinct documents that were clicked", "documents"),
        Column("peak_hour", "smallint", "Hour (UTC) with the most clicks; in a tie the earliest", "0 to 23"),
        Column("unique_queries", "bigint", "Distinct queries (normalised Keywords), empty ones not counted", "queries"),
        Column("clicks_per_session", "double precision", "total_events / unique_sessions", "clicks"),
        Column(
            "bounce_rate",
            "double precision",
            "Share of the day's visits (by their first click) that are one click; NULL when none began",
            "0 to 1",
        ),
        Column(
            "median_duration_sec",
            "double precision",
            "Median duration of the visits of two clicks or more that began on this day; NULL when there is none",
            "s",
        ),
        Column(
            "p95_duration_sec", "double precision", "Their 95th percentile, interpolated; NULL like the median", "s"
        ),
        Column(
            "ctr_at_1",
            "double precision",
            "Share of searches whose first result was clicked, among those with a click of known rank; NULL when there "
            "is none. Searches without a click are not in the log",
            "0 to 1",
        ),
        Column(
            "mean_reciprocal_rank",
            "double precision",
            "Mean over the same searches of 1 / the best rank clicked on this day; NULL when there is none",
            "0 to 1",
        ),
        Column(
            "rank_coverage",
            "double precision",
            "Share of clicks whose rank on the result page is known: the basis of the two columns before",
            "0 to 1",
        ),
        Column("no_query_share", "double precision", "Share of clicks without a query", "0 to 1"),
        Column(
            "dod_pct",
            "double precision",
            "Change of total_events from the day before; NULL when that day has no clicks",
            "%",
        ),
        Column(
            "wow_pct",
            "double precision",
            "Change of total_events from the same weekday a week before; NULL when that day has no clicks",
            "%",
        ),
        Column("duplicate_count", "bigint", "Records that repeat a click of this day and were not counted", "records"),
        Column(
            "quarantined_count",
            "bigint",
            "Records in quarantine that directly follow a click of this day in Kafka: most have no date of their own",
            "records",
        ),
        Column(
            "late_count",
            "bigint",
            "Clicks that arrived after a click of the same day, replay and Kafka partition that happened more than 10 "
            "minutes later",
            "clicks",
        ),
    ),
)

CLINICAL_AREAS: Final = Table(
    tables.CLINICAL_AREAS,
    "One row per UTC day and clinical area with clicks. A click with several areas counts in each. "
    "Cold: recomputed daily.",
    ("event_date", "clinical_area"),
    (
        _DAY,
        Column(
            "clinical_area",
            "text",
            "Canonical name; Unknown: the click has none; Other: <label>: not a known area",
        ),
        Column("search_count", "bigint", "Clicks in this area", "clicks"),
        _SESSIONS,
        Column(
            "weighted_clicks",
            "double precision",
            "Clicks, each divided by its number of areas: a day's rows add up to its total_events",
            "clicks",
        ),
        Column(
            "click_share",
            "double precision",
            "search_count / the day's total_events; with clicks of several areas a day adds up to more than 1",
            "0 to 1",
        ),
        Column("unique_documents", "bigint", "Distinct documents of these clicks", "documents"),
        Column(
            "rank_in_day",
            "integer",
            "From 1: by search_count, then unique_sessions (both descending), then clinical_area",
        ),
        Column(
            "wow_pct",
            "double precision",
            "Change of search_count from the same weekday a week before; NULL when the area has no clicks then",
            "%",
        ),
    ),
)

POPULAR_DOCUMENTS: Final = Table(
    tables.POPULAR_DOCUMENTS,
    "One row per UTC day and document that was clicked. Cold: recomputed daily.",
    ("event_date", "document_id"),
    (
        _DAY,
        Column("document_id", "bigint", "DocumentId of the log"),
        Column("title", "text", "The day's latest title that is not empty, uncut; NULL when there is none"),
        Column("view_count", "bigint", "Clicks on the document", "clicks"),
        _SESSIONS,
        Column(
            "rank_in_day",
            "integer",
            "From 1: by unique_sessions, then view_count (both descending), then document_id",
        ),
        Column("doi", "text", "The day's latest DOI that is not empty; NULL when there is none"),
        Column("url_host", "text", "Host of the day's latest URL that has one, lower case; NULL when there is none"),
        Column(
            "impressions",
            "bigint",
            "Searches of the day's clicks that have the document on a result page; NULL when none has it: it was "
            "clicked, so it was shown. Searches without a click are not in the log",
            "searches",
        ),
        Column(
            "ctr",
            "double precision",
            "Share of these searches in which the document was clicked; NULL like impressions",
            "0 to 1",
        ),
        Column(
            "avg_click_rank",
            "double precision",
            "Mean rank of the document on the result pages where it was clicked, from 1; NULL when none is known",
            "place",
        ),
        Column(
            "wow_pct",
            "double precision",
            "Change of view_count from the same weekday a week before; NULL when it had no clicks then",
            "%",
        ),
    ),
)

COLD: Final = (SESSION_ANALYSIS, DAILY_TRAFFIC, CLINICAL_AREAS, POPULAR_DOCUMENTS)
