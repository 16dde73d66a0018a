"""The four cold tables as pure functions of the curated clicks. Each metric is defined here and nowhere else."""

from collections.abc import Callable
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.event import UNKNOWN_AREA
from jobs.spark.tables import CLINICAL_AREAS, DAILY_TRAFFIC, POPULAR_DOCUMENTS, SESSION_ANALYSIS

VISIT_PAUSE_MS: Final = 30 * 60 * 1000

# What the marts need of a click; the rest of the curated stream is not even read.
COLUMNS: Final = ("event_id", "session_id", "event_ts", "event_date", "document_id", "title", "clinical_areas")


def once(clicks: DataFrame) -> DataFrame:
    """COLUMNS of the clicks, each event_id once: a resend and an exact duplicate are the same click."""
    return clicks.select(*COLUMNS).dropDuplicates(["event_id"])


def latest_title() -> Column:
    """Of a group of clicks the latest title that is not empty; null when there is none."""
    has_title = F.when(F.col("title") != "", F.struct("event_ts", "event_id", "title"))
    return F.max(has_title)["title"]


def areas(clicks: DataFrame) -> DataFrame:
    """A row a click and clinical_area; a click without any has UNKNOWN_AREA."""
    named = F.when(F.size("clinical_areas") > 0, F.col("clinical_areas")).otherwise(F.array(F.lit(UNKNOWN_AREA)))
    return clicks.withColumn("clinical_area", F.explode(named))


def visits(clicks: DataFrame) -> DataFrame:
    """Clicks + visit_no, from 1 within a session: a pause of more than 30 minutes starts a new visit."""
    order = Window.partitionBy("session_id").orderBy("event_ts", "event_id")
    pause_ms = F.unix_millis("event_ts") - F.unix_millis(F.lag("event_ts").over(order))
    starts = F.when(pause_ms > VISIT_PAUSE_MS, 1).otherwise(0)
    running = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    return clicks.withColumn("_starts", starts).withColumn("visit_no", (F.sum("_starts").over(running) + 1).cast("int"))


def session_analysis(clicks: DataFrame) -> DataFrame:
    """One row a visit, key (session_id, visit_no)."""
    first, last = F.min("event_ts"), F.max("event_ts")
    return (
        visits(clicks)
        .groupBy("session_id", "visit_no")
        .agg(
            F.to_date(first).alias("event_date"),
            F.count("*").alias("click_count"),
            F.countDistinct("document_id").alias("unique_docs"),
            first.alias("first_click_ts"),
            last.alias("last_click_ts"),
            ((F.unix_millis(last) - F.unix_millis(first)) / 1000).alias("session_duration_sec"),
        )
    )


def daily_traffic(clicks: DataFrame) -> DataFrame:
    """One row a UTC day, key event_date."""
    hours = clicks.groupBy("event_date", F.hour("event_ts").alias("hour")).agg(F.count("*").alias("clicks"))
    peak_hour = F.max_by("hour", F.struct("clicks", -F.col("hour")))  # of several with the most clicks the earliest
    peaks = hours.groupBy("event_date").agg(peak_hour.alias("peak_hour"))
    days = clicks.groupBy("event_date").agg(
        F.count("*").alias("total_events"),
        F.countDistinct("session_id").alias("unique_sessions"),
        F.countDistinct("document_id").alias("unique_documents"),
    )
    return days.join(peaks, on="event_date", how="inner")


def clinical_areas(clicks: DataFrame) -> DataFrame:
    """One row a UTC day and clinical area, key (event_date, clinical_area)."""
    return (
        areas(clicks)
        .groupBy("event_date", "clinical_area")
        .agg(F.count("*").alias("search_count"), F.countDistinct("session_id").alias("unique_sessions"))
    )


def popular_documents(clicks: DataFrame) -> DataFrame:
    """One row a UTC day and document, key (event_date, document_id)."""
    return clicks.groupBy("event_date", "document_id").agg(
        latest_title().alias("title"),
        F.count("*").alias("view_count"),
        F.countDistinct("session_id").alias("unique_sessions"),
    )


MARTS: Final[dict[str, Callable[[DataFrame], DataFrame]]] = {
    SESSION_ANALYSIS: session_analysis,
    DAILY_TRAFFIC: daily_traffic,
    CLINICAL_AREAS: clinical_areas,
    POPULAR_DOCUMENTS: popular_documents,
}
