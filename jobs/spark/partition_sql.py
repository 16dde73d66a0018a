"""DuckDB SQL on each partition of a DataFrame: Spark reads, shuffles and writes, DuckDB computes.

Queries have names, and each may read the ones before it. Times are whole microseconds since 1970 in SQL, and Spark's
timestamps outside: DuckDB's own with a time zone need an extension, which a worker would have to download.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from jobs.spark.jvm import Compute, map_in_arrow

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from jobs.spark.columns import Table

INPUT: Final = "input"  # a partition's rows, in SQL
MART: Final = "mart"  # which table a row is of, where the rows of several are computed together
# Per task: about 70,000 curated clicks (session.PART_BYTES in the lake) need half of it. More spill to disk.
MEMORY: Final = "600MB"

Queries = Mapping[str, str]
_LIST: Final = re.compile(r"array<(\w+)>")


def by_partition(
    rows: DataFrame, queries: Queries, schema: Mapping[str, str], tables: Mapping[str, pa.Table] | None = None
) -> DataFrame:
    """The result of the last query for each partition of `rows`, which is INPUT in SQL.

    `schema` has the result's columns and Spark types, `tables` small relations that every partition sees in full.
    """
    from pyspark.sql import functions as F

    found = map_in_arrow(_in_micros(rows), compute(queries, schema, tables), in_sql(schema))
    return found.select(
        *(F.timestamp_micros(name).alias(name) if kind == "timestamp" else F.col(name) for name, kind in schema.items())
    )


def in_driver(
    rows: DataFrame, queries: Queries, schema: Mapping[str, str], tables: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """The same for all of `rows`, which must fit into this process; times stay microseconds."""
    import pyarrow as pa

    arrived = _in_micros(rows).toArrow()
    batches = arrived.to_batches() or [pa.RecordBatch.from_pylist([], schema=arrived.schema)]
    return pa.Table.from_batches(compute(queries, schema, tables)(iter(batches)))


def _in_micros(rows: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    return rows.select(
        *(F.unix_micros(name).alias(name) if kind == "timestamp" else F.col(f"`{name}`") for name, kind in rows.dtypes)
    )


def compute(queries: Queries, schema: Mapping[str, str], tables: Mapping[str, pa.Table] | None = None) -> Compute:
    """The same for the Arrow batches of one partition, as a function that is pickled by value for Spark's workers."""
    sql, memory, source, small = statement(queries, in_sql(schema)), MEMORY, INPUT, dict(tables or {})

    def of_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import duckdb
        import pyarrow as pa

        first = next(batches, None)
        if first is None:
            return
        local = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None  # set by Spark for its workers
        with tempfile.TemporaryDirectory(dir=local, prefix="duckdb-") as spill:
            limits = {"threads": "1", "memory_limit": memory, "temp_directory": spill}
            with duckdb.connect(config={**limits, "preserve_insertion_order": "false"}) as connection:
                reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
                connection.register("arriving", reader)
                connection.execute(f"CREATE TEMP TABLE {source} AS FROM arriving")
                for name, table in small.items():
                    connection.register(name, table)
                found = connection.sql(sql).to_arrow_reader(10_000)
                yield pa.RecordBatch.from_pylist([], schema=found.schema)  # also for a result without rows
                yield from found

    return of_batches


def union(of: Sequence[Table]) -> str:
    """The rows of the queries called as these tables, with MART and their columns."""
    return "\nUNION ALL BY NAME\n".join(
        f"SELECT '{table.name}' AS {MART}, {', '.join(column.name for column in table.columns)} FROM {table.name}"
        for table in of
    )


def statement(queries: Queries, schema: Mapping[str, str]) -> str:
    """The queries as one statement, whose columns are those of `schema`."""
    named = ",\n".join(f"{name} AS ({query})" for name, query in queries.items())
    types = {name: _LIST.sub(r"\1[]", kind) for name, kind in schema.items()}
    columns = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in types.items())
    return f"WITH {named}\nSELECT {columns} FROM {list(queries)[-1]}"


def in_sql(schema: Mapping[str, str]) -> dict[str, str]:
    """Columns and types in SQL."""
    return {name: "bigint" if kind == "timestamp" else kind for name, kind in schema.items()}
