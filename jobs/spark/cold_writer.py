"""The rows of the cold tables: what cold_marts.py says, computed by Spark's tasks and written into the mart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from jobs.spark import tables
from jobs.spark.cold_marts import (
    BEHIND,
    BY_DAY,
    DAYS_OF_ALL,
    MOST_DAYS_BACK,
    ROWS_BY_DAY,
    SESSIONS,
    VISITED,
)
from jobs.spark.columns import schema
from jobs.spark.columns_cold import SESSION_ANALYSIS
from jobs.spark.mart import by_month
from jobs.spark.month_parts import in_parts, with_days_before
from jobs.spark.partition_sql import by_partition, in_batches, in_driver
from jobs.spark.session import side_by_side

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from jobs.spark.mart import Mart, Run

CLICKS_A_PART: Final = 100_000
# What the marts need of a click; the rest of the curated stream is not even read.
_OF_SESSIONS: Final = (
    *("session_id", "event_id", "event_ts", *tables.PLACE, "document_id", "clinical_areas", "query", "click_rank"),
)
_OF_DAYS: Final = (*_OF_SESSIONS, "event_date", "source_ts", "title", "url", "doi", "documents")

_DURATIONS: Final = ("bounce_rate", "median_duration_sec", "p95_duration_sec")
VISITED_COLUMNS: Final = {"event_date": "date", **dict.fromkeys(_DURATIONS, "double")}
# A place in Kafka, of the topic that had it from `since` until `until` (in microseconds).
OFFSET_COLUMNS: Final = {
    "topic": "string",
    "partition": "int",
    **dict.fromkeys(("offset", "since", "until"), "bigint"),
}
BEHIND_COLUMNS: Final = {**OFFSET_COLUMNS, "records": "bigint"}


def visits_of(clicks: DataFrame, parts: int = 1) -> DataFrame:
    """The rows of session_analysis of all clicks of some sessions, by so many tasks."""
    by_session = clicks.select(*_OF_SESSIONS).repartition(parts, "session_id")
    return by_partition(by_session, SESSIONS, schema(SESSION_ANALYSIS))


def places_of(clicks: DataFrame, quarantine: DataFrame) -> DataFrame:
    """PLACE and is_bad of all records in quarantine, and of the clicks with which a topic's partition begins."""
    from pyspark.sql import functions as F

    bad, starts = (rows.select(*tables.PLACE) for rows in (quarantine, clicks.where(F.col("offset") == 0)))
    return bad.withColumn("is_bad", F.lit(True)).unionAll(starts.withColumn("is_bad", F.lit(False)))


def behind_of(clicks: DataFrame, quarantine: DataFrame) -> pa.Table:
    """How many records in quarantine lie right behind which record of Kafka, of the whole of both tables."""
    return by_partition(places_of(clicks, quarantine).coalesce(1), BEHIND, BEHIND_COLUMNS).toArrow()


def days_of(clicks: DataFrame, parts: Mapping[int, int], visits: DataFrame, behind: pa.Table) -> DataFrame:
    """The rows of the three tables by day, of the months in `parts` (see month_parts), in batches.

    `clicks` are those of these months and of the days before them, `visits` rows of session_analysis of these months,
    `behind` what behind_of finds.
    """
    began = visits.select("event_date", "is_bounce", "session_duration_sec")
    small = {"visited": in_driver(began, VISITED, VISITED_COLUMNS), "behind": behind}
    return in_batches(in_parts(clicks.select(*_OF_DAYS), parts, MOST_DAYS_BACK), DAYS_OF_ALL, ROWS_BY_DAY, small)


def write_visits(mart: Mart, run: Run, visits: DataFrame, months: Collection[int] | None = None) -> None:
    """Write session_analysis, or these months of it."""
    mart.write(SESSION_ANALYSIS, by_month(SESSION_ANALYSIS, visits), run, months)


def write_days(
    mart: Mart,
    run: Run,
    parts: Mapping[int, int],
    visits: DataFrame,
    behind: pa.Table,
    months: Collection[int] | None = None,
) -> None:
    """Write the tables by day, or these months of them, from the clicks that the run reads and these visits."""
    from pyspark import StorageLevel

    clicks = run.clicks.rows(mart.spark)
    if months is not None:
        clicks = clicks.where(clicks.event_date.isin(*with_days_before(months, MOST_DAYS_BACK)))
    rows = days_of(clicks, parts, visits, behind).persist(StorageLevel.DISK_ONLY)

    side_by_side(mart.spark, *mart.writes(BY_DAY, rows, run, months))
