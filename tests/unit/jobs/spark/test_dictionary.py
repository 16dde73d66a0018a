"""The data dictionary and the code that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.spark.cold_writer import behind_of, days_of, visits_of
from jobs.spark.columns import SPARK_TYPES
from jobs.spark.columns_cold import COLD, SESSION_ANALYSIS
from jobs.spark.columns_search import SEARCH
from jobs.spark.dictionary import TABLES, markdown
from jobs.spark.mart import in_order
from jobs.spark.partition_sql import batches_of
from jobs.spark.tables import COLD_MARTS, HOT_MARTS, QUARANTINE_SCHEMA, SEARCH_MARTS
from stack.settings import REPOSITORY
from tests import reference, reference_search
from tests.clicks import frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILE = REPOSITORY / "docs" / "data-dictionary.md"


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_every_mart_and_column_is_in_it_once() -> None:
    names = [table.name for table in TABLES]
    assert names == [
        *COLD_MARTS,
        *SEARCH_MARTS,
        *HOT_MARTS,
        "reconciliation",
        "freshness",
        "missing_days",
        "mart_realtime_batches",
        "mart_loads",
        "mart_load_history",
    ]
    for table in TABLES:
        columns = [column.name for column in table.columns]
        assert len(columns) == len(set(columns))
        assert set(table.key) <= set(columns)
        assert all(column.meaning for column in table.columns)


def test_the_reference_computes_every_column() -> None:
    for tables, columns in ((COLD, reference.COLUMNS), (SEARCH, reference_search.COLUMNS)):
        assert {table.name: ", ".join(column.name for column in table.columns) for table in tables} == columns


def test_the_marts_have_these_columns_and_types(spark: SparkSession) -> None:
    none = frame(spark, [])
    visits = visits_of(none)
    by_day = days_of(none, {0: 0}, visits, behind_of(none, spark.createDataFrame([], QUARANTINE_SCHEMA)))
    for table in COLD:
        rows = visits if table is SESSION_ANALYSIS else in_order(table, batches_of(by_day, table.name))
        assert rows.dtypes == [(column.name, SPARK_TYPES[column.type]) for column in table.columns]
