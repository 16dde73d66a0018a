"""Which rows of the cold tables changed clicks change, and only their months recomputed.

A click changes the visits of its session, whose numbers are the session's own, and its day; a day also has the visits
that began on it, and is compared with others. What a row is made of is in cold_marts.py.
"""

import datetime as dt
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from jobs.cli import say
from jobs.spark import tables
from jobs.spark.cold_marts import CHANGES
from jobs.spark.month_parts import month_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.mart import Mart, Run, Written


def apply_changes(mart: "Mart", this: "Run", last: "Written") -> None:
    """Bring the tables from what the last run read to what this one reads; nothing is written when that is the same."""
    from jobs.spark.cold_writer import write_days, write_visits

    assert this.quarantine  # noqa: S101  (there was one at the last run)
    assert last.run.quarantine  # noqa: S101
    started = time.monotonic()
    spark = mart.spark
    changes = this.clicks.changes(spark, last.run.clicks).select("session_id", "event_date").toArrow()
    days = set(changes["event_date"].to_pylist())
    visits = Visits(mart, this.clicks.rows(spark), set(changes["session_id"].to_pylist()), days)
    days = days | visits.days | days_right_before_moved(spark, this, last.run)
    say(f"read {len(changes):,} changed clicks: {len(days):,} days change, took {time.monotonic() - started:.1f} s")
    if not days:
        return
    this = replace(this, days=[str(day) for day in sorted(days)])
    # Also where no visit changes: a run without a commit in each table is one that has not ended.
    months = {month_of(day) for day in days}
    write_visits(mart, this, visits.of(months), months)
    all_touched = set().union(*(touched(name, days) for name in CHANGES))
    months = {month_of(day) for day in all_touched}
    write_days(mart, this, {month: part for part, month in enumerate(sorted(months))}, months)


def touched(table: str, days: Collection[dt.date]) -> set[dt.date]:
    """The days of a table whose rows change when the clicks of `days` do: those that are compared with them as well."""
    apart = [dt.timedelta(days=back) for _, back in CHANGES.get(table, {}).values()]
    return {*days, *(day + later for day in days for later in apart)}


class Visits:
    """The visits of some sessions, recomputed."""

    def __init__(self, mart: "Mart", clicks: "DataFrame", sessions: Collection[str], days: Collection[dt.date]) -> None:
        """`days` are those of the clicks that came or went, of these sessions."""
        from pyspark.sql import functions as F

        from jobs.spark.cold_writer import visits_of
        from jobs.spark.columns_cold import SESSION_ANALYSIS

        self._mart, self.days = mart, set[dt.date]()
        rows = mart.spark.createDataFrame([(session,) for session in sessions], "session_id string")
        self._sessions = F.broadcast(rows)
        if not sessions:
            self._found = mart.rows(SESSION_ANALYSIS, [])
            return
        spans = mart.rows(SESSION_ANALYSIS).join(self._sessions, on="session_id", how="left_semi")
        dates = spans.select(F.to_date("first_click_ts").alias("first"), F.to_date("last_click_ts").alias("last"))
        lasted = {(row["first"], row["last"]) for row in dates.toArrow().to_pylist()}
        began = {first for first, _ in lasted}
        all_days = {first + dt.timedelta(days=n) for first, last in lasted for n in range((last - first).days + 1)}
        theirs = clicks.where(clicks.event_date.isin(all_days | set(days)))
        self._found = visits_of(theirs.join(self._sessions, on="session_id", how="left_semi")).persist()
        found = self._found.toArrow()
        began.update(found["event_date"].to_pylist())
        old = mart.rows(SESSION_ANALYSIS, {month_of(day) for day in began})
        self.days = differing(found, old.join(self._sessions, on="session_id", how="left_semi").toArrow())

    def of(self, months: Collection[int]) -> "DataFrame":
        """All visits of these months: theirs, and those of other sessions as they are."""
        from jobs.spark.columns_cold import SESSION_ANALYSIS
        from jobs.spark.month_parts import days_of

        others = self._mart.rows(SESSION_ANALYSIS, months).join(self._sessions, on="session_id", how="left_anti")
        days = [day for month in months for day in days_of(month)]
        return others.unionByName(self._found.where(self._found.event_date.isin(days)))


def differing(rows: "pa.Table", others: "pa.Table") -> set[dt.date]:
    """The days of the rows that only one of both has."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows_now", rows)
        connection.register("rows_before", others.select(rows.column_names))
        found = connection.execute(
            "SELECT DISTINCT event_date FROM ((FROM rows_now EXCEPT FROM rows_before) UNION ALL "
            "(FROM rows_before EXCEPT FROM rows_now))"
        ).fetchall()
    return {day for (day,) in found}


def days_right_before_moved(spark: "SparkSession", this: "Run", last: "Run") -> set[dt.date]:
    """The days of the clicks right before the records that came into the quarantine since `last`, or left it."""
    from pyspark.sql import functions as F

    from jobs.spark.cold_marts import MOVED
    from jobs.spark.partition_sql import in_driver

    assert this.quarantine  # noqa: S101
    assert last.quarantine  # noqa: S101
    if this.quarantine.version == last.quarantine.version:
        return set()
    moved = this.quarantine.changes(spark, last.quarantine)
    # A replay of the quarantine rewrites those that stay: they left and came.
    came = F.when(F.col("_change_type") == "insert", 1).otherwise(-1)
    all_places = this.quarantine.rows(spark).select(*tables.PLACE, F.lit(None).cast("int").alias("came"))
    places = moved.select(*tables.PLACE, came.alias("came")).unionByName(all_places)
    record = {name: tables.QUARANTINE_COLUMNS[name] for name in ("topic", "partition", "offset")}
    before = [tuple(row.values()) for row in in_driver(places, MOVED, record).to_pylist()]
    if not before:
        return set()
    wanted = spark.createDataFrame(before, ", ".join(f"`{name}` {kind}" for name, kind in record.items()))
    # By the range Delta passes over the files that hold none of them.
    offsets = [offset for *_, offset in before]
    near = this.clicks.rows(spark).where(F.col("offset").between(min(offsets), max(offsets)))
    found = near.join(F.broadcast(wanted), on=list(record), how="left_semi").select("event_date").toArrow()
    return set(found["event_date"].to_pylist())
