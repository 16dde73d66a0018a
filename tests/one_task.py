"""What the queries of the marts find in rows that one Spark task sees, without Spark."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.columns import schema
from jobs.spark.columns_search import QUERY_CHANGES, QUERY_DOCUMENTS
from jobs.spark.partition_sql import compute
from jobs.spark.search_classes import CLASSIFIED, CLASSIFIED_COLUMNS
from jobs.spark.search_days import BY_DAY, DAYS
from jobs.spark.search_snapshots import COUNTED_COLUMNS, DOCUMENTS, OF_QUERIES


def found_in(
    rows: pa.Table, queries: Mapping[str, str], columns: Mapping[str, str], small: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """What queries find in the only partition."""
    batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    return pa.Table.from_batches(compute(queries, columns, small)(iter(batches)))


def search_days(searches: pa.Table) -> dict[str, pa.Table]:
    """The rows of each search mart by day; `searches` has is_earlier."""
    classified = found_in(searches, CLASSIFIED, CLASSIFIED_COLUMNS)
    return {table.name: found_in(classified, {**DAYS, "rows": f"FROM {table.name}"}, schema(table)) for table in BY_DAY}


def search_snapshots(searches: pa.Table, days: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The rows of query_changes and query_documents, of less than a year; `days` has click_positions. No titles."""
    small = {
        "positions": days["click_positions"].select(["rank", "clicked", "shown"]),
        "newest": pa.table({"event_date": [pc.max(searches["event_date"]).as_py()]}),
    }
    asked = searches.filter(pc.is_valid(searches["query"]))
    changes = {**OF_QUERIES, "rows": f"FROM {QUERY_CHANGES.name}"}
    documents = found_in(asked, OF_QUERIES, COUNTED_COLUMNS, small)
    titled = documents.append_column("title", pa.nulls(len(documents), pa.string()))
    return {
        QUERY_CHANGES.name: found_in(asked, changes, schema(QUERY_CHANGES), small),
        QUERY_DOCUMENTS.name: found_in(titled, DOCUMENTS, schema(QUERY_DOCUMENTS)),
    }
