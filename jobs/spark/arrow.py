"""Python over Arrow batches in Spark's workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Compute = Callable[["Iterator[pa.RecordBatch]"], "Iterator[pa.RecordBatch]"]


def map_in_arrow(rows: DataFrame, compute: Compute, schema: Mapping[str, str]) -> DataFrame:
    """`rows.mapInArrow`, which asks for pandas and does not use it; `schema` has columns and Spark's types."""
    from pyspark.sql import DataFrame
    from pyspark.sql.pandas.functions import vectorized_udf  # type: ignore[attr-defined]
    from pyspark.util import PythonEvalType

    columns = ", ".join(f"`{name}` {kind}" for name, kind in schema.items())
    function = vectorized_udf(compute, columns, PythonEvalType.SQL_MAP_ARROW_ITER_UDF)
    mapped = rows._jdf.mapInArrow(function(*(rows[f"`{name}`"] for name in rows.columns))._jc, False, None)
    return DataFrame(mapped, rows.sparkSession)
