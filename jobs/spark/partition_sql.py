"""DuckDB SQL on each partition of a DataFrame: Spark reads, shuffles and writes, DuckDB computes.

Queries have names, and each may read the ones before it. Times are whole microseconds since 1970 in SQL, and Spark's
timestamps outside: DuckDB's own with a time zone need an extension, which a worker would have to download.

From one SQL to the next, rows travel as Arrow's, thousands of them in one of Spark's: to shuffle each by itself takes
Spark longer than DuckDB to compute it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from jobs.spark.jvm import Compute, map_in_arrow

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from jobs.spark.columns import Table

INPUT: Final = "input"  # a partition's rows, in SQL
MART: Final = "mart"  # which table a row is of, where the rows of several are computed together
PART: Final = "part"  # the number of the task that goes on with a row
BATCH: Final = "batch"  # rows, as a stream of Arrow
# Per task: about 70,000 curated clicks (session.PART_BYTES in the lake) need half of it. More spill to disk.
MEMORY: Final = "600MB"

Queries = Mapping[str, str]
Small = Mapping[str, "pa.Table"]
_LIST: Final = re.compile(r"array<(\w+)>")
_ROWS_AT_ONCE: Final = 10_000
_ROWS_A_BATCH: Final = 50_000  # at most


def by_partition(
    rows: DataFrame,
    queries: Queries,
    schema: Mapping[str, str],
    tables: Small | None = None,
    *,
    order: Sequence[str] = (),
) -> DataFrame:
    """The result of the last query for each partition of `rows`, which is INPUT in SQL, in this order.

    `schema` has the result's columns and Spark types, `tables` small relations that every partition sees in full.
    """
    from pyspark.sql import functions as F

    found = map_in_arrow(_in_micros(rows), compute(queries, schema, tables, order=order), in_sql(schema))
    return found.select(
        *(F.timestamp_micros(name).alias(name) if kind == "timestamp" else F.col(name) for name, kind in schema.items())
    )


def in_batches(rows: DataFrame, queries: Queries, results: Queries, tables: Small | None = None) -> DataFrame:
    """The results for each partition of `rows`, to go on from: MART, which is a result's name, PART, and BATCH.

    The results read the last of the queries, which is computed once. Rows of a result with a column PART are for the
    task of that number, and have it no more; of others, they stay where they are.
    """
    found = partial(_bundles, queries, results, dict(tables or {}))
    return map_in_arrow(_in_micros(rows), found, {MART: "string", PART: "int", BATCH: "binary"})


def batches_of(bundles: DataFrame, result: str, parts: int | None = None) -> DataFrame:
    """The rows of a result, for by_partition and in_batches: for so many tasks, or where they are."""
    of_result = bundles.where(bundles[MART] == result)
    return (of_result.repartitionById(parts, PART) if parts else of_result).select(BATCH)


def in_driver(rows: DataFrame, queries: Queries, schema: Mapping[str, str], tables: Small | None = None) -> pa.Table:
    """The same as by_partition for all of `rows`, which must fit into this process; times stay microseconds."""
    import pyarrow as pa

    arrived = _in_micros(rows).toArrow()
    batches = arrived.to_batches() or [pa.RecordBatch.from_pylist([], schema=arrived.schema)]
    return pa.Table.from_batches(compute(queries, schema, tables)(iter(batches)))


def _in_micros(rows: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    return rows.select(
        *(F.unix_micros(name).alias(name) if kind == "timestamp" else F.col(f"`{name}`") for name, kind in rows.dtypes)
    )


def compute(
    queries: Queries, schema: Mapping[str, str], tables: Small | None = None, *, order: Sequence[str] = ()
) -> Compute:
    """The same as by_partition for the Arrow batches of one partition."""
    sql = statement(queries, in_sql(schema)) + (f"\nORDER BY {', '.join(order)}" if order else "")
    return partial(_rows, sql, dict(tables or {}))


def _rows(sql: str, tables: Small, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with _database(tables, batches) as database:
        if database:
            found = database.sql(sql).to_arrow_reader(_ROWS_AT_ONCE)
            yield pa.RecordBatch.from_pylist([], schema=found.schema)  # also for a result without rows
            yield from found


def _bundles(
    queries: Queries, results: Queries, tables: Small, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    with _database(tables, batches) as database:
        if not database:
            return
        if queries:
            last = list(queries)[-1]
            database.execute(f"CREATE TEMP TABLE {last} AS {_named(queries)} FROM {last}")
        for name, sql in results.items():
            for batch in database.sql(sql).to_arrow_reader(_ROWS_A_BATCH):
                yield _bundled(name, batch)


def _bundled(result: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts, ends = [0], [len(rows)]
    if PART in rows.schema.names:
        rows = rows.take(pc.sort_indices(rows.column(PART)))
        runs = pc.run_end_encode(rows.column(PART))
        parts, ends = runs.values.to_pylist(), runs.run_ends.to_pylist()
        rows = rows.drop_columns([PART])
    streams = [_stream(rows.slice(begin, end - begin)) for begin, end in zip([0, *ends], ends, strict=False)]
    return pa.record_batch(
        [pa.array([result] * len(parts)), pa.array(parts, pa.int32()), pa.array(streams, pa.binary())],
        [MART, PART, BATCH],
    )


def _stream(rows: pa.RecordBatch) -> bytes:
    import pyarrow as pa

    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(rows)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def _unbundled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        if batch.schema.names == [BATCH]:
            for stream in batch.column(BATCH):
                yield from pa.ipc.open_stream(stream.as_buffer())
        else:
            yield batch


@contextmanager
def _database(tables: Small, batches: Iterator[pa.RecordBatch]) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """A database with these tables and the batches as INPUT; None if there are none."""
    import duckdb
    import pyarrow as pa

    batches = _unbundled(batches)
    first = next(batches, None)
    if first is None:
        yield None
        return
    local = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None  # set by Spark for its workers
    with tempfile.TemporaryDirectory(dir=local, prefix="duckdb-") as spill:
        limits = {"threads": "1", "memory_limit": MEMORY, "temp_directory": spill}
        with duckdb.connect(config={**limits, "preserve_insertion_order": "false"}) as connection:
            reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
            connection.register("arriving", reader)
            connection.execute(f"CREATE TEMP TABLE {INPUT} AS FROM arriving")
            for name, table in tables.items():
                connection.register(name, table)
            yield connection


def union(of: Sequence[Table]) -> str:
    """The rows of the queries called as these tables, with MART and their columns."""
    return "\nUNION ALL BY NAME\n".join(
        f"SELECT '{table.name}' AS {MART}, {', '.join(column.name for column in table.columns)} FROM {table.name}"
        for table in of
    )


def statement(queries: Queries, schema: Mapping[str, str], result: str = "") -> str:
    """The queries as one statement that selects the result of one, by default the last, as the columns of `schema`."""
    return f"{_named(queries)}\nSELECT {cast(schema)} FROM {result or list(queries)[-1]}"


def cast(schema: Mapping[str, str]) -> str:
    """The columns of `schema`, as a SELECT has them."""
    types = {name: _LIST.sub(r"\1[]", kind) for name, kind in schema.items()}
    return ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in types.items())


def _named(queries: Queries) -> str:
    return "WITH " + ",\n".join(f"{name} AS ({query})" for name, query in queries.items())


def in_sql(schema: Mapping[str, str]) -> dict[str, str]:
    """Columns and types in SQL."""
    return {name: "bigint" if kind == "timestamp" else kind for name, kind in schema.items()}
