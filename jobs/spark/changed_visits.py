"""The visits that changed clicks change, recomputed by sessions, whatever the rows of a visit are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from jobs.days import days_between
from jobs.spark.mart import in_months
from jobs.spark.month_parts import days_of, month_of
from jobs.spark.session import side_by_side

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.mart import Run, Written


def interpret(spark: SparkSession) -> None:
    """For one day's rows, generating and compiling code for each query takes longer than interpreting it."""
    spark.conf.set("spark.sql.codegen.wholeStage", "false")
    spark.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")


class Visits:
    """The rows of `table` that the sessions of changed clicks have, recomputed by `visits_of` from all their clicks.

    `changes`: how many clicks; `days`: those of the clicks, and of the visits that have changed.
    """

    def __init__(
        self,
        spark: SparkSession,
        this: Run,
        last: Written,
        table: str,
        visits_of: Callable[[DataFrame], DataFrame],
    ) -> None:
        from pyspark.sql import functions as F

        clicks, before = this.clicks.rows(spark), last.marts[table].rows(spark)
        changes = this.clicks.changes(spark, last.run.clicks).select("session_id", "event_date").toArrow()
        dates = set(changes["event_date"].to_pylist())
        sessions = changes.select(["session_id"]).group_by("session_id").aggregate([])
        self._before, self._sessions = before, F.broadcast(spark.createDataFrame(sessions))
        spans = before.join(self._sessions, on="session_id", how="left_semi")
        spans = spans.select(F.to_date("first_click_ts").alias("first"), F.to_date("last_click_ts").alias("last"))
        lasted = {(row["first"], row["last"]) for row in spans.toArrow().to_pylist()}
        days = {day for span in lasted for day in days_between(*span)}
        theirs = clicks.where(clicks.event_date.isin(days | dates))
        found = visits_of(theirs.join(self._sessions, on="session_id", how="left_semi"))
        old = in_months(before, {month_of(first) for first, _ in lasted})
        now, then = side_by_side(
            spark, found.toArrow, old.join(self._sessions, on="session_id", how="left_semi").toArrow
        )
        self._found = spark.createDataFrame(now)
        self.changes, self.days = len(changes), dates | differing(now, then)

    def of(self, months: Collection[int]) -> DataFrame:
        """All visits of these months: theirs, and those of other sessions as they are."""
        others = in_months(self._before, months).join(self._sessions, on="session_id", how="left_anti")
        days = [day for month in months for day in days_of(month)]
        return others.unionByName(self._found.where(self._found.event_date.isin(days)))


def differing(rows: pa.Table, others: pa.Table) -> set[dt.date]:
    """The days of the rows that only one of the two has."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows_now", rows)
        connection.register("rows_before", others.select(rows.column_names))
        found = connection.execute(
            "SELECT DISTINCT event_date FROM ((FROM rows_now EXCEPT FROM rows_before) UNION ALL "
            "(FROM rows_before EXCEPT FROM rows_now))"
        ).fetchall()
    return {day for (day,) in found}
