"""The rows of the search marts: what search_marts.py says, computed by Spark's tasks and written into the mart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from jobs.spark import tables
from jobs.spark.columns import Table, schema
from jobs.spark.mart import by_month, in_months
from jobs.spark.month_parts import days_of, in_parts, month_of
from jobs.spark.partition_sql import by_partition
from jobs.spark.search_marts import (
    BY_DAY,
    CLASSIFIED,
    CLASSIFIED_COLUMNS,
    DAYS_BACK,
    DAYS_OF_ALL,
    MART,
    SEARCHES,
    SEARCHES_COLUMNS,
)
from jobs.spark.session import shuffle_like, side_by_side

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.spark.mart import Mart, Run

# What the marts need of a click; the rest of the curated stream is not even read.
_OF_CLICKS: Final = (
    *("session_id", "event_id", "event_ts", *tables.PLACE, "document_id", "query", "click_rank", "documents"),
)
SEARCHES_TABLE: Final = Table(
    tables.SEARCHES, "One row a search; in the lake only.", ("session_id", "visit_no", "search_no"), ()
)


def searches_of(clicks: DataFrame, parts: int = 1) -> DataFrame:
    """The searches (SEARCHES_COLUMNS) of all clicks of some sessions, by so many tasks."""
    by_session = clicks.select(*_OF_CLICKS).repartition(parts, "session_id")
    return by_partition(by_session, SEARCHES, SEARCHES_COLUMNS)


def classified(searches: DataFrame, parts: int, months: Collection[int] | None = None) -> DataFrame:
    """The searches of these months, or all, as CLASSIFIED_COLUMNS, by so many tasks; `searches` has those before."""
    from pyspark.sql import functions as F

    month = F.year("event_date") * 12 + F.month("event_date") - 1  # as month_of counts them
    is_earlier = F.lit(False) if months is None else ~month.isin(*months)
    columns = [name for name in CLASSIFIED_COLUMNS if name in SEARCHES_COLUMNS]
    rows = searches.select(*columns, is_earlier.alias("is_earlier"))
    # Those without a query, which are many, are nobody's to wait for.
    by_query = rows.repartition(parts, F.coalesce("query", "session_id"))
    return by_partition(by_query, CLASSIFIED, CLASSIFIED_COLUMNS)


def days_of_searches(searches: DataFrame, parts: Mapping[int, int]) -> DataFrame:
    """The rows of all tables by day, and of which table each is, of classified searches of the months in `parts`."""
    columns = {MART: "string", **schema(*BY_DAY)}
    return by_partition(in_parts(searches, parts, 0), DAYS_OF_ALL, columns)


def write_searches(mart: Mart, run: Run, searches: DataFrame, months: Collection[int] | None = None) -> None:
    """Write the searches, or these months of them."""
    mart.write(SEARCHES_TABLE, by_month(searches), run, months)


def write_days(mart: Mart, run: Run, parts: Mapping[int, int], months: Collection[int] | None = None) -> None:
    """Write the tables by day, or these months of them, from the searches that the mart has."""
    from pyspark import StorageLevel

    searches = mart.rows(SEARCHES_TABLE)
    if months is not None:
        searches = in_months(searches, months_before(months))
    found = classified(searches, shuffle_like(searches), months)
    rows = days_of_searches(found, parts).persist(StorageLevel.DISK_ONLY)

    def write(table: Table) -> None:
        mart.write(table, rows.where(rows[MART] == table.name).select(*schema(table)), run, months)

    side_by_side(mart.spark, *(partial(write, table) for table in BY_DAY))


def months_before(months: Collection[int]) -> set[int]:
    """These months and those that their rows look back at."""
    firsts = [days_of(month)[0] for month in months]
    return {
        *months,
        *(month for first in firsts for month in range(month_of(first - dt.timedelta(DAYS_BACK)), month_of(first))),
    }
