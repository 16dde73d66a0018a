"""What the hot stream reads of the curated table: the clicks that arrived, and how far they move its clock.

The clock is the newest event_ts, but never later than the click's arrival in Kafka: one that is dated more
than TOLERATED_AHEAD after that does not move it, is kept, and appears when its time comes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pyspark.sql import functions as F

from jobs.spark.moments import micros, moment_of
from jobs.spark.recent_clicks import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

TOLERATED_AHEAD: Final = dt.timedelta(minutes=10)  # a web server's clock may be off by so much
CLICKS_PER_READ: Final = 200_000  # that the driver can hold at once, about 100 MB
_HOUR: Final = 3_600_000_000
_CHANGE: Final = "_change_type"


@dataclass(frozen=True)
class Arrival:
    """Clicks of the table, their number by hour of event_ts, and their effect on the clock.

    `newest` is None when no click moves the clock; `is_append` is False when some clicks were removed.
    """

    clicks: DataFrame
    by_hour: dict[int, int]
    newest: dt.datetime | None
    ahead: int
    is_append: bool = True

    @property
    def count(self) -> int:
        """How many clicks have arrived."""
        return sum(self.by_hour.values())

    def since(self, start: dt.datetime) -> Iterator[pa.Table]:
        """Those with event_ts from `start` on, as columns of RecentClicks, in batches of bounded size."""
        columns = [_event_ts() if name == "event_ts" else F.col(name) for name in COLUMNS]
        for first, end in _ranges(self.by_hour, micros(start)):
            yield self.clicks.where(_between(first, end)).select(*columns).toArrow()


def everything(spark: SparkSession, path: str, since: dt.datetime | None) -> Arrival:
    """All clicks of the curated table, or those with event_ts from `since` on."""
    clicks = spark.read.format("delta").load(path)
    return _arrival(clicks.where(F.col("event_ts") >= F.lit(since)) if since else clicks)


def changes(spark: SparkSession, path: str, first: int, last: int) -> Arrival:
    """The clicks that these versions of the table added."""
    options = {"readChangeFeed": "true", "startingVersion": str(first), "endingVersion": str(last)}
    return _arrival(spark.read.format("delta").options(**options).load(path), F.col(_CHANGE) != "insert")


def _arrival(clicks: DataFrame, is_other_change: Column | None = None) -> Arrival:
    """One pass over three columns of the clicks."""
    tolerated = F.col("kafka_ts") + F.expr(f"INTERVAL {TOLERATED_AHEAD.seconds} SECONDS")
    is_ahead = F.col("event_ts") > tolerated
    moves_to = F.unix_micros(F.least("event_ts", "kafka_ts"))
    rows = (
        clicks.groupBy(F.floor(_event_ts() / _HOUR).alias("hour"))
        .agg(
            F.count("*").alias("clicks"),
            F.max(F.when(is_ahead, None).otherwise(moves_to)).alias("newest"),
            F.count_if(is_ahead).alias("ahead"),
            F.count_if(F.lit(False) if is_other_change is None else is_other_change).alias("others"),
        )
        .collect()
    )
    newest = max((row.newest for row in rows if row.newest is not None), default=None)
    return Arrival(
        clicks,
        {int(row.hour): row.clicks for row in rows},
        None if newest is None else min(moment_of(newest), dt.datetime.now(dt.UTC)),
        sum(row.ahead for row in rows),
        not any(row.others for row in rows),
    )


def _event_ts() -> Column:
    return F.unix_micros("event_ts").alias("event_ts")


def _between(start: int, end: int) -> Column:
    """As timestamps, so that Delta skips the files of other times."""
    first, last = (F.timestamp_micros(F.lit(moment)) for moment in (start, end))
    return (F.col("event_ts") >= first) & (F.col("event_ts") < last)


def _ranges(by_hour: dict[int, int], start: int) -> Iterator[tuple[int, int]]:
    """Ranges of event_ts from `start` on, of whole hours with at most CLICKS_PER_READ clicks where possible."""
    first, count = start, 0
    hours = sorted(hour for hour in by_hour if (hour + 1) * _HOUR > start)
    for hour in hours:
        if count and count + by_hour[hour] > CLICKS_PER_READ:
            yield first, hour * _HOUR
            first, count = hour * _HOUR, 0
        count += by_hour[hour]
    if count:
        yield first, (hours[-1] + 1) * _HOUR
