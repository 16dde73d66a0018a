"""What PostgreSQL says: how old each table is, which days are missing, which version the hot tables have."""

from __future__ import annotations

from typing import Final

from jobs.metrics.sample import Sample, sample
from jobs.spark.postgres import connect

_FRESHNESS: Final = """
    SELECT table_name, extract(epoch FROM written_at)::float8, extract(epoch FROM newest_event_ts)::float8
    FROM freshness
"""
_MISSING: Final = "SELECT count(*) FROM missing_days WHERE days_ago <= 30"
_VERSION: Final = "SELECT batch_id FROM mart_realtime_batches ORDER BY updated_at DESC LIMIT 1"


def ask() -> tuple[list[Sample], int | None]:
    """The samples, and the curated table's version in the hot tables, None if there is none. As the role of readers."""
    found = []
    with connect() as connection:
        for table, written, event in connection.execute(_FRESHNESS).fetchall():
            found.append(sample("tripclick_table_written_timestamp_seconds", written, table=table))
            if event is not None:
                found.append(sample("tripclick_table_event_timestamp_seconds", event, table=table))
        ((missing,),) = connection.execute(_MISSING).fetchall()
        version = connection.execute(_VERSION).fetchone()
    return [*found, sample("tripclick_missing_days", missing)], version[0] if version else None
