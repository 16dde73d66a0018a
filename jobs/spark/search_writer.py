"""The rows of the search marts: what search_marts.py says, computed by Spark's tasks and written into the mart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from jobs.spark import tables
from jobs.spark.columns import Table, schema
from jobs.spark.columns_search import CLICK_POSITIONS, QUERY_CHANGES, QUERY_DOCUMENTS, TRENDING
from jobs.spark.mart import by_month, in_months
from jobs.spark.month_parts import days_of, in_parts, month_in, month_of
from jobs.spark.partition_sql import MART, by_partition
from jobs.spark.search_classes import CLASSIFIED, CLASSIFIED_COLUMNS
from jobs.spark.search_days import BY_DAY, DAYS_OF_ALL
from jobs.spark.search_marts import AFFECTED, DAYS_BACK
from jobs.spark.search_snapshots import COUNTED_COLUMNS, DOCUMENTS, OF_QUERIES, SNAPSHOTS, WINDOW_DAYS
from jobs.spark.search_trends import TRENDS
from jobs.spark.searches import SEARCHES, SEARCHES_COLUMNS
from jobs.spark.session import shuffle_like, side_by_side

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.spark.mart import Mart, Run

# What the marts need of a click; the rest of the curated stream is not even read.
_OF_CLICKS: Final = (
    *("session_id", "event_id", "event_ts", *tables.PLACE, "document_id", "query", "click_rank", "documents"),
    "clinical_areas",
)
_OF_PAGES: Final = ("page", "documents")
_NOT_OF_QUERIES: Final = ("visit_no", "search_no", "first_click_ts", "last_click_ts", "begins_visit", "ranks", "areas")
_OF_TRENDS: Final = ("event_date", "session_id", "visit_no", "query", "documents", "areas")
_BASE_DAYS: Final = AFFECTED[tables.TRENDING][1]
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

    is_earlier = F.lit(False) if months is None else ~month_in("event_date").isin(*months)
    columns = [name for name in CLASSIFIED_COLUMNS if name in SEARCHES_COLUMNS]
    rows = searches.select(*columns, *_OF_PAGES, is_earlier.alias("is_earlier"))
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

    trends = by_partition(in_parts(searches.select(*_OF_TRENDS), parts, _BASE_DAYS), TRENDS, schema(TRENDING))
    side_by_side(
        mart.spark,
        *mart.writes(BY_DAY, rows, run, months),
        lambda: mart.write(TRENDING, trends, run, months),
    )


def write_snapshots(mart: Mart, run: Run) -> None:
    """Write the tables without days, of the searches and the click_positions that the mart has."""
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    searches = mart.rows(SEARCHES_TABLE)
    ((newest,),) = in_months(searches, {max(mart.months(SEARCHES_TABLE))}).agg(F.max("event_date")).collect()
    first = newest - dt.timedelta(days=WINDOW_DAYS - 1)

    def in_window(rows: DataFrame) -> DataFrame:
        months = range(month_of(first), month_of(newest) + 1)
        return in_months(rows, months).where(rows.event_date.between(first, newest))

    counted = of_queries(in_window(searches), in_window(mart.rows(CLICK_POSITIONS)), newest)
    counted = counted.persist(StorageLevel.DISK_ONLY)
    changes, documents = (counted.where(counted[MART] == table) for table in SNAPSHOTS)
    clicks = run.clicks.rows(mart.spark)
    titled = documents.select(*COUNTED_COLUMNS).join(titles_of(clicks, first, newest), on="document_id", how="left")
    tested = by_partition(titled.coalesce(1), DOCUMENTS, schema(QUERY_DOCUMENTS))
    side_by_side(
        mart.spark,
        lambda: mart.write(QUERY_CHANGES, changes.select(*schema(QUERY_CHANGES)).coalesce(1), run),
        lambda: mart.write(QUERY_DOCUMENTS, tested, run),
    )


def of_queries(searches: DataFrame, positions: DataFrame, newest: dt.date) -> DataFrame:
    """The rows of query_changes, and COUNTED_COLUMNS of query_documents, and of which table each is."""
    import pyarrow as pa

    columns = [name for name in SEARCHES_COLUMNS if name not in _NOT_OF_QUERIES]
    asked = searches.where(searches["query"].isNotNull()).select(*columns)
    by_query = asked.repartition(shuffle_like(asked), "query")
    small = {
        "positions": positions.select("rank", "clicked", "shown").toArrow(),
        "newest": pa.table({"event_date": pa.array([newest], pa.date32())}),
    }
    return by_partition(by_query, OF_QUERIES, {MART: "string", **COUNTED_COLUMNS, **schema(QUERY_CHANGES)}, small)


def titles_of(clicks: DataFrame, first: dt.date, last: dt.date) -> DataFrame:
    """The latest title that is not empty of each document that was clicked in these days."""
    from pyspark.sql import functions as F

    titled = clicks.where(clicks.event_date.between(first, last) & (clicks.title != ""))
    return titled.groupBy("document_id").agg(F.max_by("title", F.struct("event_ts", "event_id")).alias("title"))


def months_before(months: Collection[int]) -> set[int]:
    """These months and those that their rows look back at."""
    firsts = [days_of(month)[0] for month in months]
    return {
        *months,
        *(month for first in firsts for month in range(month_of(first - dt.timedelta(DAYS_BACK)), month_of(first))),
    }
