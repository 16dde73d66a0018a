"""The four hot tables as pure functions of the curated clicks around a moment of event time.

`recent` are the clicks of the HORIZON that ends with a snapshot, each event_id once. They are read anew from the
curated stream for each micro-batch, not taken from the batch: a minute or a window that several batches touch is whole.
A snapshot is the end of a minute, and every window is [start, end): the hour before it is 60 rows of the minutes.
"""

import datetime as dt
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.spark.anomaly_rules import CLICKS_5M, MINUTE_MS, Rule
from jobs.spark.clicks import areas, latest
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TRAFFIC_MINUTE

HOUR: Final = dt.timedelta(hours=1)
DAY: Final = dt.timedelta(hours=24)
HORIZON: Final = 2 * DAY  # clicks older than this before the newest one are the cold marts' affair
TOP: Final = 20
# The other rules have no row in the hot table yet.
BURST_RULES: Final = (CLICKS_5M,)


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
        TRAFFIC_MINUTE: traffic_minute(minutes),
        TOP_DOCS: top_docs_1h(recent, snapshot),
        CLINICAL_TREND: clinical_trend_24h(recent, snapshot),
        ANOMALY_SESSIONS: anomaly_sessions(sessions, snapshot),
    }


def traffic_minute(clicks: DataFrame) -> DataFrame:
    """event_minute, total_clicks, unique_sessions, unique_docs: a row a minute, for clicks of whole minutes."""
    return clicks.groupBy(event_minute()).agg(
        F.count("*").alias("total_clicks"),
        F.countDistinct("session_id").alias("unique_sessions"),
        F.countDistinct("document_id").alias("unique_docs"),
    )


def top_docs_1h(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """snapshot_ts, rank, document_id, title, click_count, unique_sessions: the TOP documents of the hour before."""
    documents = (
        recent.where(between(snapshot - HOUR, snapshot))
        .groupBy("document_id")
        .agg(
            latest("title", "title"),
            F.count("*").alias("click_count"),
            F.countDistinct("session_id").alias("unique_sessions"),
        )
    )
    order = Window.orderBy(F.desc("click_count"), F.desc("unique_sessions"), "document_id")
    ranked = documents.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= TOP)
    return ranked.select(
        F.lit(snapshot).alias("snapshot_ts"), "rank", "document_id", "title", "click_count", "unique_sessions"
    )


def clinical_trend_24h(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """snapshot_ts, clinical_area, click_count, unique_sessions, trend_pct: the 24 hours before, and their change."""
    now = between(snapshot - DAY, snapshot)
    before = between(snapshot - 2 * DAY, snapshot - DAY)
    counted = (
        areas(recent.where(now | before))
        .groupBy("clinical_area")
        .agg(
            F.count_if(now).alias("click_count"),
            F.countDistinct(F.when(now, F.col("session_id"))).alias("unique_sessions"),
            F.count_if(before).alias("previous"),
        )
    )
    trend_pct = (F.col("click_count") - F.col("previous")) * F.lit(100.0) / F.nullif("previous", F.lit(0))
    return counted.select(
        F.lit(snapshot).alias("snapshot_ts"),
        "clinical_area",
        "click_count",
        "unique_sessions",
        trend_pct.alias("trend_pct"),
    )


def anomaly_sessions(recent: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """session_id, rule_id, window_start, window_end, click_count, severity: a row each burst, rule and level.

    window_end is the click that reached the level, window_start lies the rule's window before it (and is not in it).
    """
    return reduce(DataFrame.unionByName, (_bursts(recent, snapshot, rule) for rule in BURST_RULES))


def _bursts(recent: DataFrame, snapshot: dt.datetime, rule: Rule) -> DataFrame:
    """A burst begins where a level is reached and was not in the window before: one that wavers is still one.

    Each level has its own row, for rows are only ever added: a burst that grows is a WARNING and then a CRITICAL.
    """
    window = Window.partitionBy("session_id").orderBy("event_ms")
    counted = recent.select("session_id", F.unix_millis("event_ts").alias("event_ms")).withColumn(
        "click_count", F.count("*").over(window.rangeBetween(-rule.window_ms + 1, Window.currentRow))
    )
    just_before = window.rangeBetween(-rule.window_ms + 1, -1)

    def begins(level: float) -> Column:
        reached = F.col("click_count") >= level
        return reached & F.coalesce(~F.max(reached).over(just_before), F.lit(True))

    severities = [F.when(begins(level), name) for name, level in reversed(rule.levels)]
    # At the horizon's edge earlier clicks are cut off, and a burst would seem to begin later than it did.
    known_ms = int((snapshot - HORIZON).timestamp() * 1000) + 2 * rule.window_ms
    return (
        counted.withColumn("severity", F.coalesce(*severities))
        .where(F.col("severity").isNotNull() & (F.col("event_ms") > known_ms))
        .select(
            "session_id",
            F.lit(rule.rule_id).alias("rule_id"),
            F.timestamp_millis(F.col("event_ms") - rule.window_ms).alias("window_start"),
            F.timestamp_millis("event_ms").alias("window_end"),
            "click_count",
            "severity",
        )
        .distinct()  # clicks of the same millisecond
    )
