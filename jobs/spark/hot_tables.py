"""The hot tables in PostgreSQL: how each is written, and which micro-batch is in them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from jobs.spark.hot_marts import final_before, snapshot_of
from jobs.spark.postgres import as_text, insert_rows, upsert_rows
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TRAFFIC_MINUTE

if TYPE_CHECKING:
    import psycopg
    from pyspark.sql import DataFrame

_CLAIM: Final = """
    INSERT INTO mart_realtime_batches AS known (query_id, batch_id, max_event_ts)
    VALUES (%(stream)s, %(batch_id)s, to_timestamp(%(newest_ms)s / 1000.0))
    ON CONFLICT (query_id) DO UPDATE
    SET batch_id = excluded.batch_id, max_event_ts = excluded.max_event_ts, updated_at = now()
    WHERE known.batch_id < excluded.batch_id
"""
_FINISH_MINUTES: Final = (
    b"UPDATE mart_realtime_traffic_minute SET is_final = true, updated_at = now() "
    b"WHERE is_final IS NOT TRUE AND event_minute < %s"
)
_COMPARE_RANKS: Final = b"""
    UPDATE mart_realtime_top_docs_1h AS now SET rank_delta = before.rank - now.rank
    FROM mart_realtime_top_docs_1h AS before
    WHERE now.snapshot_ts = %(snapshot)s AND before.document_id = now.document_id
    AND before.snapshot_ts = (SELECT max(snapshot_ts) FROM mart_realtime_top_docs_1h WHERE snapshot_ts < %(snapshot)s)
"""
# Clicks that come late or out of order may move a burst's beginning: it is added unless one like it is there already.
_ADD_ANOMALY: Final = """
    INSERT INTO mart_realtime_anomaly_sessions ({columns})
    SELECT new.* FROM (SELECT {values}) AS new
    WHERE NOT EXISTS (
        SELECT FROM mart_realtime_anomaly_sessions AS known
        WHERE (known.session_id, known.rule_id, known.severity) = (new.session_id, new.rule_id, new.severity)
        AND known.window_start < new.window_end AND known.window_end > new.window_start)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class State:
    """What PostgreSQL has: a stream's last batch (None: no batch of it), and the newest event_ts of any stream."""

    last_batch: int | None
    newest_ms: int


def state_of(connection: "psycopg.Connection[Any]", stream: str) -> State:
    """The state before a batch of `stream`, which is the id of a checkpoint."""
    row = connection.execute(
        "SELECT max(batch_id) FILTER (WHERE query_id = %s), "
        "coalesce((extract(epoch FROM max(max_event_ts)) * 1000)::bigint, 0) FROM mart_realtime_batches",
        (stream,),
    ).fetchone()
    return State(*row) if row else State(None, 0)


@dataclass(frozen=True)
class Batch:
    """A micro-batch: its stream (the id of a checkpoint), its id there, and the newest event_ts until it."""

    stream: str
    batch_id: int
    newest_ms: int


def write(
    connection: "psycopg.Connection[Any]", batch: Batch, marts: "dict[str, DataFrame]", keep: dt.timedelta
) -> str:
    """Compute `marts`, write them with the batch's id in one transaction, and say what that was.

    Minutes that the batch does not touch may become final by it; snapshots older than `keep` before its own go.
    """
    snapshot = snapshot_of(batch.newest_ms)
    rows = {table: as_text(mart).collect() for table, mart in marts.items()}
    with connection.transaction():
        if not _claim(connection, batch):
            return "which are in PostgreSQL already"
        upsert_rows(connection, TRAFFIC_MINUTE, ["event_minute"], marts[TRAFFIC_MINUTE].columns, rows[TRAFFIC_MINUTE])
        connection.execute(_FINISH_MINUTES, (final_before(snapshot),))
        for table in (TOP_DOCS, CLINICAL_TREND):
            _put_snapshot(connection, table, marts[table].columns, rows[table])
            connection.execute(f"DELETE FROM {table} WHERE snapshot_ts < %s".encode(), (snapshot - keep,))
        connection.execute(_COMPARE_RANKS, {"snapshot": snapshot})
        anomalies = _add_anomalies(connection, marts[ANOMALY_SESSIONS].dtypes, rows[ANOMALY_SESSIONS])
    return (
        f"wrote {len(rows[TRAFFIC_MINUTE]):,} minutes, {len(rows[TOP_DOCS])} top documents, "
        f"{len(rows[CLINICAL_TREND])} clinical areas, {anomalies} new anomalies"
    )


def _claim(connection: "psycopg.Connection[Any]", batch: Batch) -> bool:
    """Whether the batch is not in yet; the transaction's end makes it so, and another writer waits for that."""
    connection.execute("LOCK TABLE mart_realtime_batches IN SHARE ROW EXCLUSIVE MODE")
    return connection.execute(_CLAIM, asdict(batch)).rowcount == 1


def _put_snapshot(
    connection: "psycopg.Connection[Any]", table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write a snapshot whole: one of the same minute by an earlier batch makes way."""
    for snapshot in {row[0] for row in rows}:
        connection.execute(f"DELETE FROM {table} WHERE snapshot_ts = %s".encode(), (snapshot,))
    insert_rows(connection, table, columns, rows)


def _add_anomalies(
    connection: "psycopg.Connection[Any]", columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]
) -> int:
    types = {"timestamp": "timestamptz", "string": "text", "double": "double precision"}
    values = ", ".join(f"%s::{types.get(kind, kind)} AS {name}" for name, kind in columns)
    statement = _ADD_ANOMALY.format(columns=", ".join(name for name, _ in columns), values=values)
    reached = [name for name, _ in columns].index("window_end")
    # Of bursts that overlap the first one counts, in whatever order Spark has them.
    by_time = sorted(rows, key=lambda row: str(row[reached]))
    with connection.cursor() as cursor:
        cursor.executemany(statement.encode(), by_time)
        return max(cursor.rowcount, 0)
