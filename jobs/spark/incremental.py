"""Which rows of the cold tables changed clicks affect, and the recomputation of only their months.

A click changes the visits of its session, whose numbers are the session's own, and its day; a day also has the visits
that began on it, and is compared with others. What a row is made of is in cold_marts.py.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from jobs.console import say
from jobs.spark import tables
from jobs.spark.changed_visits import Visits, interpret
from jobs.spark.cold_marts import CHANGES, MOVED
from jobs.spark.cold_writer import OFFSET_COLUMNS, behind_of, places_of, visits_of, write_days, write_visits
from jobs.spark.month_parts import month_of
from jobs.spark.partition_sql import in_driver
from jobs.spark.session import side_by_side

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.spark.mart import Mart, Run, Written


def apply_changes(mart: Mart, this: Run, last: Written) -> None:
    """Update the tables from what the last run read to what this one reads; writes nothing if that is the same."""
    assert this.quarantine  # noqa: S101  (there was one at the last run)
    assert last.run.quarantine  # noqa: S101
    started = time.monotonic()
    spark = mart.spark
    # The tables are the same ones: see etl.refuse.
    if (this.clicks.version, this.quarantine.version) == (last.run.clicks.version, last.run.quarantine.version):
        say("nothing has changed since the last run")
        return
    interpret(spark)
    visits, behind, moved = side_by_side(
        spark,
        lambda: Visits(spark, this, last, tables.SESSION_ANALYSIS, visits_of),
        lambda: behind_of(this.clicks.rows(spark), this.quarantined(spark)),
        lambda: days_right_before_moved(spark, this, last.run),
    )
    days = visits.days | moved
    say(f"read {visits.changes:,} changed clicks: {len(days):,} days change, took {time.monotonic() - started:.1f} s")
    if not days:
        return
    this = replace(this, days=[str(day) for day in sorted(days)])
    months = {month_of(day) for day in days}
    of_all = {month_of(day) for day in set().union(*(touched(name, days) for name in CHANGES))}
    parts = {month: part for part, month in enumerate(sorted(of_all))}
    side_by_side(
        spark,
        # Also if no visit changes: a run without a commit in each table counts as unfinished.
        lambda: write_visits(mart, this, visits.of(months), months),
        lambda: write_days(mart, this, parts, visits.of(of_all), behind, of_all),
    )


def touched(table: str, days: Collection[dt.date]) -> set[dt.date]:
    """The days of a table whose rows change when the clicks of `days` do: those that are compared with them as well."""
    apart = [dt.timedelta(days=back) for _, back in CHANGES.get(table, {}).values()]
    return {*days, *(day + later for day in days for later in apart)}


def days_right_before_moved(spark: SparkSession, this: Run, last: Run) -> set[dt.date]:
    """The days of the clicks directly before the records that entered or left the quarantine since `last`."""
    from pyspark.sql import functions as F

    assert this.quarantine  # noqa: S101
    assert last.quarantine  # noqa: S101
    if this.quarantine.version == last.quarantine.version:
        return set()
    moved = this.quarantine.changes(spark, last.quarantine)
    # A replay of the quarantine changes the reason of those that stay: they left and entered.
    came = F.when(F.col("_change_type").isin("insert", "update_postimage"), 1).otherwise(-1)
    clicks = this.clicks.rows(spark)
    there = places_of(clicks, this.quarantine.rows(spark)).withColumn("came", F.lit(None).cast("int"))
    places = moved.select(*tables.PLACE, F.lit(True).alias("is_bad"), came.alias("came")).unionByName(there)
    before = in_driver(places, MOVED, OFFSET_COLUMNS)
    if not before:
        return set()
    wanted = F.broadcast(spark.createDataFrame(before))
    # With the range, Delta skips the files that have none of them.
    offsets = before["offset"].to_pylist()
    near = clicks.where(F.col("offset").between(min(offsets), max(offsets)))
    at = F.unix_micros("kafka_ts")
    right_before = near.join(wanted, on=["topic", "partition", "offset"], how="inner")
    found = right_before.where((at >= F.col("since")) & (at < F.col("until"))).select("event_date").toArrow()
    return set(found["event_date"].to_pylist())
