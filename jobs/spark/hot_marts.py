"""The four hot tables as pure functions of the curated clicks around a moment of event time.

`recent` are the clicks of the HORIZON that ends with a snapshot, each event_id once. They are read anew from the
curated stream for each micro-batch, not taken from the batch: a minute or a window that several batches touch is whole.
A snapshot is the end of a minute, and every window is [start, end): the hour before it is 60 rows of the minutes.
"""

import datetime as dt
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.spark.anomaly_rules import MINUTE_MS, findings
from jobs.spark.clicks import areas, latest, visits
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TRAFFIC_MINUTE

HOUR: Final = dt.timedelta(hours=1)
DAY: Final = dt.timedelta(hours=24)
HORIZON: Final = 2 * DAY  # clicks older than this before the newest one are the cold marts' affair
TOP: Final = 20
FINAL_AFTER: Final = dt.timedelta(minutes=10)  # clicks that are out of order are so by less


def snapshot_of(newest_ms: int) -> dt.datetime:
    """The snapshot_ts of a newest event_ts (epoch milliseconds): the end of its minute."""
    return dt.datetime.fromtimestamp((newest_ms // MINUTE_MS + 1) * MINUTE_MS / 1000, dt.UTC)


def between(start: dt.datetime, end: dt.datetime) -> Column:
    """Whether event_ts is in [start, end); the dates as well, so that only their folders are read."""
    in_dates = F.col("event_date").between(F.lit(start.date()), F.lit(end.date()))
    return in_dates & (F.col("event_ts") >= F.lit(start)) & (F.col("event_ts") < F.lit(end))


def event_minute() -> Column:
    """The start of event_ts's minute."""
    return F.date_trunc("minute", "event_ts").alias("event_minute")


def compute(recent: DataFrame, batch: DataFrame | None, snapshot: dt.datetime) -> dict[str, DataFrame]:
    """The rows that are due in each table: minutes and sessions that `batch` touches (None: all of them)."""
    minutes = sessions = recent.withColumn("event_minute", event_minute())
    if batch is not None:
        minutes = minutes.join(batch.select(event_minute()).distinct(), on="event_minute", how="left_semi")
        sessions = sessions.join(batch.select("session_id").distinct(), on="session_id", how="left_semi")
    return {
        TRAFFIC_MINUTE: traffic_minute(minutes, snapshot),
        TOP_DOCS: top_docs_1h(recent, snapshot),
        CLINICAL_TREND: clinical_trend_24h(recent, snapshot),
        ANOMALY_SESSIONS: anomaly_sessions(sessions, snapshot),
    }


def final_before(snapshot: dt.datetime) -> dt.datetime:
    """Minutes that begin before this moment are final at a snapshot."""
    return snapshot - FINAL_AFTER - dt.timedelta(milliseconds=MINUTE_MS)


def traffic_minute(clicks: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """Of whole minutes: event_minute, total_clicks, unique_sessions, unique_docs, unique_queries, is_final."""
    return (
        clicks.groupBy(event_minute())
        .agg(
            F.count("*").alias("total_clicks"),
            F.countDistinct("session_id").alias("unique_sessions"),
            F.countDistinct("document_id").alias("unique_docs"),
            F.countDistinct("query").alias("unique_queries"),
        )
        .withColumn("is_final", F.col("event_minute") < F.lit(final_before(snapshot)))
    )


def top_docs_1h(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """snapshot_ts, rank, document_id, title, click_count, unique_sessions, window_start, window_end: the TOP documents.

    rank_delta is against the snapshot before, which only PostgreSQL knows.
    """
    start = snapshot - HOUR
    order = Window.orderBy(F.desc("click_count"), F.desc("unique_sessions"), "document_id")
    return (
        recent.where(between(start, snapshot))
        .groupBy("document_id")
        .agg(
            latest("title", "title"),
            F.count("*").alias("click_count"),
            F.countDistinct("session_id").alias("unique_sessions"),
        )
        .withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= TOP)
        .select(
            F.lit(snapshot).alias("snapshot_ts"),
            "rank",
            "document_id",
            "title",
            "click_count",
            "unique_sessions",
            F.lit(start).alias("window_start"),
            F.lit(snapshot).alias("window_end"),
        )
    )


def clinical_trend_24h(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """snapshot_ts, clinical_area, click_count, unique_sessions, trend_pct, prev_click_count, is_new, share.

    The 24 hours before the snapshot, their change against the 24 before those, and the share of all their clicks.
    """
    now = between(snapshot - DAY, snapshot)
    before = between(snapshot - 2 * DAY, snapshot - DAY)
    clicks = recent.where(now | before)
    counted = (
        areas(clicks)
        .groupBy("clinical_area")
        .agg(
            F.count_if(now).alias("click_count"),
            F.countDistinct(F.when(now, F.col("session_id"))).alias("unique_sessions"),
            F.count_if(before).alias("prev_click_count"),
        )
        .crossJoin(F.broadcast(clicks.agg(F.count_if(now).alias("all_clicks"))))
    )
    clicked, previous = F.col("click_count"), F.col("prev_click_count")
    return counted.select(
        F.lit(snapshot).alias("snapshot_ts"),
        "clinical_area",
        "click_count",
        "unique_sessions",
        ((clicked - previous) * F.lit(100.0) / F.nullif(previous, F.lit(0))).alias("trend_pct"),
        "prev_click_count",
        ((previous == 0) & (clicked > 0)).alias("is_new"),
        (clicked / F.nullif("all_clicks", F.lit(0))).alias("share"),
    )


def anomaly_sessions(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """session_id, rule_id, window_start, window_end, click_count, metric_value, threshold, severity: see `findings`.

    At the horizon's edge earlier clicks are cut off, and a burst or a visit would seem to begin later than it did.
    """
    return findings(visits(recent), int((snapshot - HORIZON).timestamp() * 1000))
