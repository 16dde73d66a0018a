"""What the queries of the marts find in rows that one Spark task sees, without Spark."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.columns import schema
from jobs.spark.columns_search import QUERY_CHANGES, QUERY_DOCUMENTS
from jobs.spark.partition_sql import MART, compute
from jobs.spark.search_classes import CLASSIFIED, CLASSIFIED_COLUMNS
from jobs.spark.search_days import BY_DAY, DAYS_OF_ALL
from jobs.spark.search_snapshots import COUNTED_COLUMNS, DOCUMENTS, OF_QUERIES, SNAPSHOTS


def found_in(
    rows: pa.Table, queries: Mapping[str, str], columns: Mapping[str, str], small: Mapping[str, pa.Table] | None = None
) -> pa.Table:
    """What queries find in the only partition."""
    batches = rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]
    return pa.Table.from_batches(compute(queries, columns, small)(iter(batches)))


def search_days(searches: pa.Table) -> pa.Table:
    """The rows of all search marts by day, and of which each is; `searches` has is_earlier."""
    classified = found_in(searches, CLASSIFIED, CLASSIFIED_COLUMNS)
    return found_in(classified, DAYS_OF_ALL, {MART: "string", **schema(*BY_DAY)})


def search_snapshots(searches: pa.Table, days: pa.Table) -> dict[str, pa.Table]:
    """The rows of query_changes and query_documents, of less than a year; `days` has click_positions. No titles."""
    small = {
        "positions": days.filter(pc.equal(days[MART], "click_positions")).select(["rank", "clicked", "shown"]),
        "newest": pa.table({"event_date": [pc.max(searches["event_date"]).as_py()]}),
    }
    asked = searches.filter(pc.is_valid(searches["query"]))
    counted = found_in(asked, OF_QUERIES, {MART: "string", **COUNTED_COLUMNS, **schema(QUERY_CHANGES)}, small)
    changes, documents = (counted.filter(pc.equal(counted[MART], mart)) for mart in SNAPSHOTS)
    titled = documents.select(list(COUNTED_COLUMNS)).append_column("title", pa.nulls(len(documents), pa.string()))
    return {
        QUERY_CHANGES.name: changes.select(list(schema(QUERY_CHANGES))),
        QUERY_DOCUMENTS.name: found_in(titled, DOCUMENTS, schema(QUERY_DOCUMENTS)),
    }
