"""The hot tables in PostgreSQL: how each is written, and which micro-batch is in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.spark.columns_hot import ANOMALY_SESSIONS as ANOMALY_TABLE
from jobs.spark.hot_marts import HORIZON, final_before, snapshot_of
from jobs.spark.postgres import insert_rows, upsert_rows
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TOP_DOCS_DAY, TRAFFIC_MINUTE

if TYPE_CHECKING:
    import psycopg

    from jobs.spark.hot_marts import Rows

_CLAIM: Final = """
    INSERT INTO mart_realtime_batches AS known (query_id, batch_id, max_event_ts, written_by)
    VALUES (%(table)s, %(version)s, %(clock)s, nullif(%(written_by)s, ''))
    ON CONFLICT (query_id) DO UPDATE
    SET batch_id = excluded.batch_id, max_event_ts = excluded.max_event_ts, updated_at = now(),
        written_by = excluded.written_by
    WHERE known.batch_id < excluded.batch_id
"""
_DELETE_OLD: Final = "DELETE FROM {table} WHERE snapshot_ts < %(before)s AND written_at < now() - %(keep)s"
_FINISH_MINUTES: Final = (
    b"UPDATE mart_realtime_traffic_minute SET is_final = true, updated_at = now() "
    b"WHERE is_final IS NOT TRUE AND event_minute < %s"
)
_COMPARE_RANKS: Final = """
    UPDATE {table} AS now SET rank_delta = before.rank - now.rank
    FROM {table} AS before
    WHERE now.snapshot_ts = %(snapshot)s AND before.document_id = now.document_id
    AND now.rank_delta IS DISTINCT FROM before.rank - now.rank
    AND before.snapshot_ts = (SELECT max(snapshot_ts) FROM {table} WHERE snapshot_ts < %(snapshot)s)
"""
# Late or out-of-order clicks may move a burst's start: it is added unless an overlapping one exists.
_ADD_ANOMALY: Final = """
    INSERT INTO mart_realtime_anomaly_sessions ({columns})
    SELECT new.* FROM (SELECT {values}) AS new
    WHERE NOT EXISTS (
        SELECT FROM mart_realtime_anomaly_sessions AS known
        WHERE (known.session_id, known.rule_id, known.severity) = (new.session_id, new.rule_id, new.severity)
        AND known.window_start < new.window_end AND known.window_end > new.window_start)
    ON CONFLICT DO NOTHING
"""


class State(NamedTuple):
    """What PostgreSQL has of a curated table: the last version in the hot tables, and their clock then."""

    version: int
    clock: dt.datetime


def state_of(connection: psycopg.Connection[Any], table: str) -> State | None:
    """The state of the curated table of this id; None if nothing of it has been written."""
    known = "SELECT batch_id, max_event_ts FROM mart_realtime_batches WHERE query_id = %s"
    row = connection.execute(known, (table,)).fetchone()
    return State(*row) if row else None


SNAPSHOTS: Final = (TOP_DOCS, TOP_DOCS_DAY, CLINICAL_TREND)
_TYPES: Final = {column.name: column.type for column in ANOMALY_TABLE.columns}


@dataclass(frozen=True)
class Batch:
    """A micro-batch: the id of the curated table, its version, and the clock (newest event_ts) until it.

    If `is_whole`, it has every minute with clicks since the horizon. `written_by`: the run id of the DAG, if any.
    """

    table: str
    version: int
    clock: dt.datetime
    is_whole: bool = False
    written_by: str = ""


def write(connection: psycopg.Connection[Any], batch: Batch, marts: Mapping[str, Rows], keep: dt.timedelta) -> str:
    """Write `marts` with the batch's number in one transaction, and describe what was written; existing rows stay.

    Minutes that the batch does not affect may become final. Snapshots go that are older than `keep` in event time
    and by the database's clock: a jump of either alone does not empty the tables.
    """
    snapshot = snapshot_of(batch.clock)
    with connection.transaction():
        before = state_of(connection, batch.table)
        if not _claim(connection, batch):
            return "which are already in PostgreSQL"
        if batch.is_whole:
            _take_out(connection, snapshot, before, marts[TRAFFIC_MINUTE].rows)
        minutes = upsert_rows(connection, TRAFFIC_MINUTE, ["event_minute"], *marts[TRAFFIC_MINUTE])
        connection.execute(_FINISH_MINUTES, (final_before(snapshot),))
        put = {table: _put_snapshot(connection, table, snapshot, marts[table]) for table in SNAPSHOTS}
        for table in SNAPSHOTS:
            connection.execute(_DELETE_OLD.format(table=table).encode(), {"before": snapshot - keep, "keep": keep})
        for table in (TOP_DOCS, TOP_DOCS_DAY):
            connection.execute(_COMPARE_RANKS.format(table=table).encode(), {"snapshot": snapshot})
        anomalies = _add_anomalies(connection, marts[ANOMALY_SESSIONS])
    documents, areas = put[TOP_DOCS] + put[TOP_DOCS_DAY], put[CLINICAL_TREND]
    return f"wrote {minutes:,} minutes, {documents} top documents, {areas} clinical areas, {anomalies} new anomalies"


def _take_out(
    connection: psycopg.Connection[Any], snapshot: dt.datetime, before: State | None, minutes: Sequence[Sequence[Any]]
) -> None:
    """Delete what stems only from clicks since removed from the curated stream: within the horizon, minutes other than
    these, and if the clock has gone back, the snapshots after it."""
    end = max(snapshot, snapshot_of(before.clock)) if before else snapshot
    others = "event_minute >= %s AND event_minute < %s AND event_minute <> ALL(%s::timestamptz[])"
    values = (snapshot - HORIZON, end, [row[0] for row in minutes])
    connection.execute(f"DELETE FROM {TRAFFIC_MINUTE} WHERE {others}".encode(), values)
    for table in SNAPSHOTS:
        after = f"DELETE FROM {table} WHERE snapshot_ts > %s AND snapshot_ts <= %s"
        connection.execute(after.encode(), (snapshot, end))


def _claim(connection: psycopg.Connection[Any], batch: Batch) -> bool:
    """Claim the batch: whether it is not in yet. Another writer waits for the end of this transaction."""
    connection.execute("LOCK TABLE mart_realtime_batches IN SHARE ROW EXCLUSIVE MODE")
    return connection.execute(_CLAIM, asdict(batch)).rowcount == 1


def _put_snapshot(connection: psycopg.Connection[Any], table: str, snapshot: dt.datetime, mart: Rows) -> int:
    """Write a snapshot if it is not there, replacing any other of its minute. Returns how many rows were written."""
    there = f"SELECT {', '.join(mart.columns)} FROM {table} WHERE snapshot_ts = %s"
    if set(connection.execute(there.encode(), (snapshot,))) == set(mart.rows):
        return 0
    connection.execute(f"DELETE FROM {table} WHERE snapshot_ts = %s".encode(), (snapshot,))
    insert_rows(connection, table, *mart)
    return len(mart.rows)


def _add_anomalies(connection: psycopg.Connection[Any], mart: Rows) -> int:
    values = ", ".join(f"%s::{_TYPES[name]} AS {name}" for name in mart.columns)
    statement = _ADD_ANOMALY.format(columns=", ".join(mart.columns), values=values)
    reached = mart.columns.index("window_end")
    # Of overlapping bursts the first one counts.
    by_time = sorted(mart.rows, key=lambda row: (row[reached], row))
    with connection.cursor() as cursor:
        cursor.executemany(statement.encode(), by_time)
        return max(cursor.rowcount, 0)
