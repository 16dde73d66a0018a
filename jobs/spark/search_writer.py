"""The rows of the search marts: what search_marts.py says, computed by Spark's tasks and written into the mart.

All searches are found once; from there they go, in batches, to the tasks that write them, to those that know all
searches of a query, and to those that compare the days of a month with the ones before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jobs.spark import tables
from jobs.spark.columns import Table
from jobs.spark.columns_search import CLICK_POSITIONS, QUERY_CHANGES, QUERY_DOCUMENTS, TRENDING
from jobs.spark.mart import in_months, in_order
from jobs.spark.month_parts import days_in_parts, days_of, month_of
from jobs.spark.partition_sql import INPUT, PART, batches_of, by_partition, in_batches
from jobs.spark.search_classes import CLASSIFIED, CLASSIFIED_COLUMNS
from jobs.spark.search_days import BY_DAY, ROWS_BY_DAY
from jobs.spark.search_marts import AFFECTED, DAYS_BACK
from jobs.spark.search_snapshots import COUNTED_COLUMNS, DOCUMENTS, ROWS_OF_QUERIES, WINDOW_DAYS
from jobs.spark.search_trends import TRENDS
from jobs.spark.searches import SEARCHES, SEARCHES_COLUMNS
from jobs.spark.session import shuffle_like, side_by_side

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.spark.mart import Mart, Run

# Of a part: for the trends of a month, the month before is read as well, which costs less when a part has more months.
CLICKS_A_PART: Final = 250_000
# What the marts need of a click; the rest of the curated stream is not even read.
_OF_CLICKS: Final = (
    *("session_id", "event_id", "event_ts", *tables.PLACE, "document_id", "query", "click_rank", "documents"),
    "clinical_areas",
)
# Pages are for grades, which only queries have.
_OF_CLASSES: Final = (
    *(name for name in CLASSIFIED_COLUMNS if name in SEARCHES_COLUMNS),
    *(f"CASE WHEN query IS NOT NULL THEN {name} END AS {name}" for name in ("page", "documents")),
)
_OF_TRENDS: Final = ("event_date", "session_id", "visit_no", "query", "documents", "areas")
_NOT_OF_QUERIES: Final = ("visit_no", "search_no", "first_click_ts", "last_click_ts", "begins_visit", "ranks", "areas")
_BASE_DAYS: Final = AFFECTED[tables.TRENDING][1]
_BY_MONTH: Final = "by_month"
_BY_QUERY: Final = "by_query"
_FOR_TRENDS: Final = "for_trends"
SEARCHES_TABLE: Final = Table(
    tables.SEARCHES, "One row a search; in the lake only.", ("session_id", "visit_no", "search_no"), ()
)


@dataclass(frozen=True)
class Found:
    """Searches in batches, for as many tasks by query, and for the tasks that compute the months of `parts`."""

    batches: DataFrame
    tasks: int
    parts: Mapping[int, int]

    @property
    def by_month(self) -> DataFrame:
        """The searches (SEARCHES_COLUMNS), each month in one partition and in order."""
        return in_order(SEARCHES_TABLE, self._in_parts(_BY_MONTH), columns=SEARCHES_COLUMNS)

    @property
    def by_query(self) -> DataFrame:
        """_OF_CLASSES and is_earlier of all searches of some queries; those without one are anywhere."""
        return batches_of(self.batches, _BY_QUERY, self.tasks)

    @property
    def for_trends(self) -> DataFrame:
        """_OF_TRENDS and is_earlier of a part's searches, and of those in _BASE_DAYS before its months."""
        return self._in_parts(_FOR_TRENDS)

    def _in_parts(self, result: str) -> DataFrame:
        return batches_of(self.batches, result, len(set(self.parts.values())))


def searches_of(clicks: DataFrame, tasks: int = 1) -> DataFrame:
    """The searches (SEARCHES_COLUMNS) of all clicks of some sessions, by so many tasks."""
    return by_partition(_by_session(clicks, tasks), SEARCHES, SEARCHES_COLUMNS)


def found_in_clicks(clicks: DataFrame, parts: Mapping[int, int]) -> Found:
    """The searches of all clicks."""
    tasks = shuffle_like(clicks)
    return _found(_by_session(clicks, tasks), SEARCHES, tasks, parts)


def found_before(mart: Mart, parts: Mapping[int, int]) -> Found:
    """The searches that the mart has of these months and of those that they look back at."""
    searches = in_months(mart.rows(SEARCHES_TABLE), months_before(parts))
    return _found(searches, {}, shuffle_like(searches), parts)


def _by_session(clicks: DataFrame, tasks: int) -> DataFrame:
    return clicks.select(*_OF_CLICKS).repartition(tasks, "session_id")


def _found(rows: DataFrame, queries: Mapping[str, str], tasks: int, parts: Mapping[int, int]) -> Found:
    from pyspark import StorageLevel

    searches = list(queries)[-1] if queries else INPUT
    results = {
        # Those without a query, which are many, are nobody's to wait for.
        _BY_QUERY: f"""
SELECT {", ".join(_OF_CLASSES)},
    own.event_date IS NULL AS is_earlier,
    hash(coalesce(query, session_id)) % {tasks} AS {PART}
FROM {searches}
LEFT JOIN (FROM days WHERE NOT is_earlier) AS own USING (event_date)
""",
        _FOR_TRENDS: f"SELECT {', '.join(_OF_TRENDS)}, is_earlier, {PART} FROM {searches} JOIN days USING (event_date)",
    }
    if queries:  # the others are in the mart
        own = f"SELECT {searches}.*, {PART} FROM {searches} JOIN days USING (event_date) WHERE NOT is_earlier"
        results = {_BY_MONTH: own, **results}
    batches = in_batches(rows, queries, results, {"days": days_in_parts(parts, _BASE_DAYS)})
    return Found(batches.persist(StorageLevel.DISK_ONLY), tasks, parts)


def write_days(mart: Mart, run: Run, searches: Found, months: Collection[int] | None = None) -> None:
    """Write the tables by day, or these months of them."""
    from pyspark import StorageLevel

    result, parts = "classified", len(set(searches.parts.values()))
    of_days = f"SELECT {', '.join(CLASSIFIED_COLUMNS)}, {PART} FROM {result} JOIN days USING (event_date)"
    days = {"days": days_in_parts(searches.parts, 0)}
    found = batches_of(in_batches(searches.by_query, CLASSIFIED, {result: of_days}, days), result, parts)
    rows = in_batches(found, {}, ROWS_BY_DAY).persist(StorageLevel.DISK_ONLY)
    trends = in_order(TRENDING, searches.for_trends, TRENDS)
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

    found = of_queries(in_window(searches), in_window(mart.rows(CLICK_POSITIONS)), newest)
    found = found.persist(StorageLevel.DISK_ONLY)
    changes = in_order(QUERY_CHANGES, batches_of(found, QUERY_CHANGES.name).coalesce(1))
    documents = by_partition(batches_of(found, QUERY_DOCUMENTS.name), {"found": f"FROM {INPUT}"}, COUNTED_COLUMNS)
    titled = documents.join(titles_of(run.clicks.rows(mart.spark), first, newest), on="document_id", how="left")
    tested = in_order(QUERY_DOCUMENTS, titled.coalesce(1), DOCUMENTS)
    side_by_side(
        mart.spark,
        lambda: mart.write(QUERY_CHANGES, changes, run),
        lambda: mart.write(QUERY_DOCUMENTS, tested, run),
    )


def of_queries(searches: DataFrame, positions: DataFrame, newest: dt.date) -> DataFrame:
    """The rows of query_changes, and COUNTED_COLUMNS of query_documents, in batches."""
    import pyarrow as pa

    columns = [name for name in SEARCHES_COLUMNS if name not in _NOT_OF_QUERIES]
    asked = searches.where(searches["query"].isNotNull()).select(*columns)
    by_query = asked.repartition(shuffle_like(asked), "query")
    small = {
        "positions": positions.select("rank", "clicked", "shown").toArrow(),
        "newest": pa.table({"event_date": pa.array([newest], pa.date32())}),
    }
    return in_batches(by_query, {}, ROWS_OF_QUERIES, small)


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
