"""What PostgreSQL has beside the marts: when each was loaded, and views for dashboards."""

from __future__ import annotations

from typing import Final

from jobs.spark.columns import Column, Table

LOADS: Final = Table(
    "mart_loads",
    "One row per cold and search table: the result of its last load. Written in the transaction of the load.",
    ("table_name",),
    (
        Column("table_name", "text", "Name of the table"),
        Column("row_count", "bigint", "Rows of the table after the last load", "rows"),
        Column("loaded_at", "timestamptz", "When that load began (clock of the database)"),
        Column("run_id", "text", "The ETL run whose rows the table holds; the same in all tables loaded together"),
        Column("run_ended_at", "timestamptz", "When that run ended (clock of the lake): an older one is not loaded"),
    ),
)

LOAD_HISTORY: Final = Table(
    "mart_load_history",
    "One row per load of a cold or search table: the way back from what a reader saw to its clicks. Written in the "
    "transaction of the load.",
    ("table_name", "loaded_at"),
    (
        Column("table_name", "text", "Name of the table"),
        Column("loaded_at", "timestamptz", "When that load began (clock of the database)"),
        Column("loaded_by", "text", "The run id of the DAG that loaded it; NULL when it was started by hand"),
        Column("run_id", "text", "The ETL run whose rows the table held from then on"),
        Column("row_count", "bigint", "Rows of the table after the load", "rows"),
    ),
)

RECONCILIATION: Final = Table(
    "reconciliation",
    "One row per UTC day: clicks in the hot tables against clicks in the cold ones. A day on which the hot stream did "
    "not run, or that is not loaded into the cold ones yet, has one side only; one on which it ran for a part, that "
    "part.",
    ("event_date",),
    (
        Column("event_date", "date", "UTC date of event_ts"),
        Column("hot_clicks", "bigint", "Clicks in mart_realtime_traffic_minute; NULL when it has none", "clicks"),
        Column("cold_clicks", "bigint", "Clicks in daily_traffic; NULL when it has none", "clicks"),
        Column("difference", "bigint", "hot_clicks - cold_clicks; NULL when one is missing", "clicks"),
        Column("difference_share", "double precision", "difference / cold_clicks; NULL when one is missing", "0 to 1"),
        Column("within_tolerance", "boolean", "The difference is at most 1 %; NULL when one is missing"),
    ),
)

FRESHNESS: Final = Table(
    "freshness",
    "One row per table that has been written: how old it is. The hot tables are written together, and so are the cold "
    "tables and the search tables.",
    ("table_name",),
    (
        Column("table_name", "text", "Name of the table"),
        Column("newest_event_ts", "timestamptz", "The newest event_ts that it has seen"),
        Column("written_at", "timestamptz", "When it was last written (clock of the database)"),
        Column("event_age_minutes", "double precision", "Event time: now - newest_event_ts", "min"),
        Column("wall_age_minutes", "double precision", "Wall-clock time: now - written_at", "min"),
        Column("age_text", "text", "event_age_minutes in words: 40 s, 12 min, 3 h, 2 days; in 22 h when it is ahead"),
        Column(
            "state",
            "text",
            "ahead of the clock: by more than a minute; late: the newest click in a hot table is older than 5 minutes, "
            "or a cold one was written more than 30 hours ago or has no click of the last 54; else fresh; NULL without "
            "a click",
        ),
        Column("table_group", "text", "hot; cold: the cold tables and the search tables"),
    ),
)

MISSING_DAYS: Final = Table(
    "missing_days",
    "One row per UTC day that has no clicks in daily_traffic, in gaps of at most a year between days that have some, "
    "and up to the day before yesterday. The web server's log of that day is missing, or was never sent.",
    ("event_date",),
    (
        Column("event_date", "date", "UTC date without a click"),
        Column("days_ago", "integer", "How long ago that was", "days"),
    ),
)

VIEWS: Final = (RECONCILIATION, FRESHNESS, MISSING_DAYS)
