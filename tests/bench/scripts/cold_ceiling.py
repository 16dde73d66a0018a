"""What DuckDB alone takes for all columns of the four cold tables, from the files of a curated stream."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import duckdb

from jobs.spark import tables
from jobs.spark.cold_marts import BEHIND, BY_DAY, DAYS_OF_ALL, SESSIONS, VISITED
from jobs.spark.cold_writer import BEHIND_COLUMNS, VISITED_COLUMNS
from jobs.spark.columns import schema
from jobs.spark.columns_cold import SESSION_ANALYSIS
from jobs.spark.partition_sql import INPUT, MART, Queries, in_sql, statement


def main(root: Path) -> None:
    """Compute them, and keep them in memory."""
    database = duckdb.connect(config={"preserve_insertion_order": "false"})  # as much memory as it likes
    database.execute("SET TimeZone = 'UTC'")

    def read(source: str) -> None:
        database.execute(f"CREATE OR REPLACE TEMP TABLE {INPUT} AS {source}")

    def compute(name: str, queries: Queries, columns: Mapping[str, str]) -> None:
        database.execute(f"CREATE TABLE {name} AS {statement(queries, in_sql(columns))}")

    quarantine = sorted(map(str, (root / tables.QUARANTINE).rglob("*.parquet")))
    clicks = sorted(map(str, (root / tables.CLICKS).rglob("*.parquet")))
    every = f"read_parquet({clicks}, hive_partitioning = true)"
    place = 'SELECT topic, "partition", "offset", epoch_us(kafka_ts) AS kafka_ts'
    starts = f'{place}, false FROM {every} WHERE "offset" = 0'
    read(f"{place}, true AS is_bad FROM read_parquet({quarantine}) UNION ALL {starts}")
    compute("behind", BEHIND, BEHIND_COLUMNS)
    moments = ", ".join(f"epoch_us({name}) AS {name}" for name in ("event_ts", "source_ts", "kafka_ts"))
    times = f"{moments}, event_ts::date AS event_date"
    read(f"SELECT * REPLACE ({times}), false AS is_earlier FROM {every}")
    compute("session_analysis_rows", SESSIONS, schema(SESSION_ANALYSIS))
    database.execute(f"ALTER TABLE {INPUT} RENAME TO clicks_read")
    read("FROM session_analysis_rows")
    compute("visited", VISITED, VISITED_COLUMNS)
    database.execute(f"DROP TABLE {INPUT}; ALTER TABLE clicks_read RENAME TO {INPUT}")
    compute("by_day", DAYS_OF_ALL, {MART: "string", **schema(*BY_DAY)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
