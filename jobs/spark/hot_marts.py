"""The four hot tables as pure functions of the curated clicks around a moment of event time.

`clicks` hold each event_id once. They are read anew from the curated stream for each micro-batch, not from the batch
alone: a minute or a window that several batches touch is whole.
"""

import datetime as dt
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.spark.cold_marts import areas, latest_title

HOUR: Final = dt.timedelta(hours=1)
DAY: Final = dt.timedelta(hours=24)
HORIZON: Final = 2 * DAY  # clicks older than this before the newest one are the cold marts' affair
TOP: Final = 20
MINUTE_SECONDS: Final = 60

BURST_RULE: Final = "clicks_5m"
BURST_MS: Final = 5 * 60 * 1000
LEVELS: Final = (("WARNING", 50), ("CRITICAL", 100))  # clicks in a window


def snapshot_of(newest_ms: int) -> dt.datetime:
    """The snapshot_ts of a newest event_ts (epoch milliseconds): rounded up to the minute."""
    minutes = -(-newest_ms // (MINUTE_SECONDS * 1000))
    return dt.datetime.fromtimestamp(minutes * MINUTE_SECONDS, dt.UTC)


def between(after: dt.datetime, until: dt.datetime) -> Column:
    """Whether event_ts is in (after, until]; the dates as well, so that only their folders are read."""
    in_dates = F.col("event_date").between(F.lit(after.date()), F.lit(until.date()))
    event_ms = F.unix_millis("event_ts")
    return in_dates & (event_ms > F.lit(_ms(after))) & (event_ms <= F.lit(_ms(until)))


def minute_of(timestamp: Column) -> Column:
    """Epoch seconds of the minute's start."""
    return F.floor(F.unix_seconds(timestamp) / MINUTE_SECONDS) * MINUTE_SECONDS


def traffic_minute(clicks: DataFrame) -> DataFrame:
    """event_minute (epoch seconds), total_clicks, unique_sessions, unique_docs."""
    return clicks.groupBy(minute_of(F.col("event_ts")).alias("event_minute")).agg(
        F.count("*").alias("total_clicks"),
        F.countDistinct("session_id").alias("unique_sessions"),
        F.countDistinct("document_id").alias("unique_docs"),
    )


def top_docs_1h(clicks: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """rank, document_id, title, click_count, unique_sessions: the TOP documents of the hour until `snapshot`."""
    documents = (
        clicks.where(between(snapshot - HOUR, snapshot))
        .groupBy("document_id")
        .agg(
            latest_title().alias("title"),
            F.count("*").alias("click_count"),
            F.countDistinct("session_id").alias("unique_sessions"),
        )
    )
    order = Window.orderBy(F.desc("click_count"), F.desc("unique_sessions"), "document_id")
    ranked = documents.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= TOP)
    return ranked.select("rank", "document_id", "title", "click_count", "unique_sessions")


def clinical_trend_24h(clicks: DataFrame, snapshot: dt.datetime) -> DataFrame:
    """clinical_area, click_count, unique_sessions, trend_pct: 24 hours until `snapshot` against the 24 before."""
    now = between(snapshot - DAY, snapshot)
    counted = (
        areas(clicks.where(between(snapshot - HORIZON, snapshot)))
        .groupBy("clinical_area")
        .agg(
            F.count_if(now).alias("click_count"),
            F.countDistinct(F.when(now, F.col("session_id"))).alias("unique_sessions"),
            F.count_if(~now).alias("previous"),
        )
    )
    change = (F.col("click_count") - F.col("previous")) * 100.0 / F.nullif("previous", F.lit(0))
    return counted.select("clinical_area", "click_count", "unique_sessions", change.alias("trend_pct"))


def anomaly_sessions(clicks: DataFrame) -> DataFrame:
    """session_id, rule_id, window_start, window_end (epoch ms), click_count, severity: a row each rise over a level.

    A window is the 5 minutes that end with a click; a session rises over a level when the window before that click
    held fewer clicks than the level and this one does not. Each level has its own rise, so a burst that grows gives
    a WARNING and then a CRITICAL, wherever micro-batches part it, and the same rows when it is computed again.
    """
    event_ms = F.unix_millis("event_ts")
    session = Window.partitionBy("session_id")
    window = session.orderBy("event_ms").rangeBetween(-BURST_MS + 1, Window.currentRow)
    order = session.orderBy("event_ms", "event_id")
    counted = clicks.select("session_id", "event_id", event_ms.alias("event_ms")).withColumn(
        "click_count", F.count("*").over(window)
    )
    before = F.coalesce(F.lag("click_count").over(order), F.lit(0))
    levels = F.array(*(F.struct(F.lit(level).alias("level"), F.lit(name).alias("severity")) for name, level in LEVELS))
    risen_over = F.filter(levels, lambda one: (F.col("click_count") >= one["level"]) & (F.col("before") < one["level"]))
    return (
        counted.withColumn("before", before)
        .withColumn("severity", F.array_max(risen_over)["severity"])
        .where(F.col("severity").isNotNull())
        .select(
            "session_id",
            F.lit(BURST_RULE).alias("rule_id"),
            (F.col("event_ms") - BURST_MS).alias("window_start"),
            F.col("event_ms").alias("window_end"),
            "click_count",
            "severity",
        )
    )


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
