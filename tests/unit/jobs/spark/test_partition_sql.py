"""SQL of DuckDB on the partitions of a DataFrame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from jobs.spark import partition_sql
from jobs.spark.partition_sql import batches_of, by_partition, compute, in_batches
from tests.clicks import at, click, frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COUNTS = {
    "each": "SELECT a, count(*) AS n FROM input GROUP BY a",
    "most": "FROM each QUALIFY rank() OVER (ORDER BY n DESC) = 1",
}


def batches(*rows: int) -> Iterator[pa.RecordBatch]:
    return iter(pa.table({"a": rows}).to_batches(max_chunksize=2))


def rows_of(found: Iterator[pa.RecordBatch]) -> list[Any]:
    return [row for batch in found for row in batch.to_pylist()]


def test_queries_read_the_ones_before_them_and_the_schema_says_the_types() -> None:
    run = compute(COUNTS, {"n": "int", "a": "string"})
    assert rows_of(run(batches(1, 2, 2, 3))) == [{"n": 2, "a": "2"}]
    assert rows_of(run(batches())) == []


def test_a_small_table_is_read_as_a_whole() -> None:
    known = pa.table({"a": [2, 3]})
    run = compute({"matches": "SELECT a FROM input JOIN known USING (a)"}, {"a": "bigint"}, {"known": known})
    assert rows_of(run(batches(1, 2))) == [{"a": 2}]


def test_what_does_not_fit_into_memory_is_written_to_sparks_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_sql, "MEMORY", "64MB")
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path},/elsewhere")
    run = compute(
        {"sorted": "SELECT a, repeat(a::varchar, 50) b FROM input ORDER BY b DESC"}, {"a": "bigint", "b": "string"}
    )
    found = run(batches(*range(700_000)))
    assert next(batch for batch in found if len(batch))["a"][0].as_py() == 99_999
    assert list(tmp_path.glob("duckdb-*/*"))
    found.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())


def test_times_are_microseconds_in_sql(spark: SparkSession) -> None:
    clicks = frame(spark, [click(at(0.123)), click(at(5))])
    queries = {"first": "SELECT min(event_ts) AS event_ts, max(event_date) AS event_date FROM input"}
    found = by_partition(clicks.coalesce(1), queries, {"event_date": "date", "event_ts": "timestamp"})
    assert found.toArrow().to_pylist() == [{"event_date": at().date(), "event_ts": at(0.123)}]


def test_results_go_on_in_batches_each_row_to_its_task_or_where_it_is(spark: SparkSession) -> None:
    numbers = spark.range(100_000).repartition(2)
    queries = {"each": "SELECT id, id // 1000 AS thousand FROM input"}
    results = {"by_thousand": "SELECT *, thousand % 3 AS part FROM each", "few": "FROM each WHERE id < 5"}
    bundles = in_batches(numbers, queries, results).persist()
    assert bundles.count() < 20, "not a row each"
    ids = {"of": "SELECT count(*) AS n, list_sort(list(DISTINCT thousand % 3)) AS parts FROM input"}
    found = by_partition(batches_of(bundles, "by_thousand", 3), ids, {"n": "int", "parts": "array<int>"})
    assert sorted(map(tuple, found.collect())) == [(33_000, [1]), (33_000, [2]), (34_000, [0])]
    few = by_partition(batches_of(bundles, "few"), {"of": "SELECT id FROM input"}, {"id": "int"})
    assert sorted(few.toArrow()["id"].to_pylist()) == [0, 1, 2, 3, 4]
    again = in_batches(batches_of(bundles, "few"), {}, {"none": "FROM input WHERE id > 5"})
    assert by_partition(batches_of(again, "none", 1), {"of": "SELECT id FROM input"}, {"id": "int"}).collect() == []
    bundles.unpersist()
