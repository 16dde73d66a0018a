"""Which rows of the cold tables new clicks change, and these rows alone computed anew.

A click changes the visits of its session, whose numbers are the session's own, and its day; a day also has the visits
that began on it. What a row is made of stands in cold_marts.py.
"""

import datetime as dt
import time
from typing import TYPE_CHECKING

from jobs.cli import say
from jobs.spark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.spark.mart import Mart, Run, Written


def go_on(mart: "Mart", this: "Run", last: "Written") -> None:
    """Bring the tables from what the last run read to what this one reads; nothing is written when that is the same."""
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    from jobs.spark.cold_marts import CHANGES, compared, of_days, prepared, quarantined, session_analysis
    from jobs.spark.columns_cold import SESSION_ANALYSIS
    from jobs.spark.session import shuffle_like

    assert this.quarantine  # noqa: S101  (there was one at the last run)
    assert last.run.quarantine  # noqa: S101
    started = time.monotonic()
    spark, disk = mart.spark, StorageLevel.DISK_ONLY
    curated, quarantine = this.clicks.rows(spark), this.quarantine.rows(spark)

    new = this.clicks.changes(spark, last.run.clicks).select("session_id", "event_date").persist()
    sessions = new.select("session_id").distinct().persist()
    visits = last.marts[SESSION_ANALYSIS.name]
    shuffle_like(visits)
    old = visits.join(sessions, on="session_id", how="left_semi").persist()
    lasted = F.sequence(F.to_date("first_click_ts"), F.to_date("last_click_ts"))
    days = dates(new)
    visited = days | dates(old.select(F.explode(lasted).alias("event_date")))
    theirs = on(visited, curated)
    shuffle_like(theirs)
    theirs = theirs.join(sessions, on="session_id", how="left_semi")
    found = SESSION_ANALYSIS.of(session_analysis(prepared(theirs).persist(disk))).persist()
    days |= dates(differing(found, old))
    moved = this.quarantine.changes(spark, last.run.quarantine)
    days |= days_right_before(moved, quarantine, curated)
    say(f"read {new.count():,} new clicks: {len(days):,} days change, took {time.monotonic() - started:.1f} s")
    if not days:
        return

    others = on(days, visits).join(sessions, on="session_id", how="left_anti")
    mart.write(SESSION_ANALYSIS, others.unionByName(on(days, found)), this, days)
    curated = on(days, curated)
    shuffle_like(curated)
    by_day = of_days(
        prepared(curated).persist(disk), mart.rows(SESSION_ANALYSIS, days), quarantined(curated, quarantine)
    )
    for table, rows in by_day.items():
        back = [dt.timedelta(days) for _, days in CHANGES[table.name].values()]
        touched = days | {day + before for day in days for before in back}
        compared_with = touched | {day - before for day in touched for before in back}
        kept = mart.rows(table, compared_with - days).drop(*CHANGES[table.name])
        both = rows.select(*kept.columns).unionByName(kept)
        mart.write(table, on(touched, compared(table, both)), this, touched)


def differing(rows: "DataFrame", others: "DataFrame") -> "DataFrame":
    """The rows that only one of both has."""
    from pyspark.sql import functions as F

    both = rows.withColumn("_sign", F.lit(1)).unionByName(others.withColumn("_sign", F.lit(-1)))
    return both.groupBy(*rows.columns).agg(F.sum("_sign").alias("_sign")).where("_sign <> 0")


def days_right_before(moved: "DataFrame", quarantine: "DataFrame", curated: "DataFrame") -> set[dt.date]:
    """The days of the clicks right before the records that came into the quarantine or left it (`moved`)."""
    from pyspark.sql import functions as F

    from jobs.spark.clicks import RECORD
    from jobs.spark.cold_marts import before_them

    # A replay of the quarantine writes those that stay anew: they left and came.
    came = F.sum(F.when(F.col("_change_type") == "insert", 1).otherwise(-1))
    places = moved.groupBy(*tables.PLACE).agg(came.alias("came")).where("came <> 0").select(*RECORD)
    all_places = places.withColumn("moved", F.lit(True)).unionByName(
        quarantine.select(*RECORD).withColumn("moved", F.lit(False))
    )
    before = before_them(all_places).where("moved").select(*RECORD).distinct().persist()
    (ends,) = before.agg(F.min("offset").alias("first"), F.max("offset").alias("last")).collect()
    if ends["first"] is None:
        return set()
    # By the range Delta passes over the files that hold none of them.
    near = curated.where(F.col("offset").between(ends["first"], ends["last"]))
    return dates(near.join(F.broadcast(before), on=list(RECORD), how="left_semi"))


def on(days: set[dt.date], rows: "DataFrame") -> "DataFrame":
    """The rows of these days."""
    return rows.where(rows.event_date.isin(days))


def dates(rows: "DataFrame") -> set[dt.date]:
    """The distinct event_date."""
    return {row.event_date for row in rows.select("event_date").distinct().collect()}
