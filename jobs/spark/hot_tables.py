"""The hot tables in PostgreSQL: how each is written, and which micro-batch is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jobs.spark.postgres import as_text, insert_rows, upsert_rows
from jobs.spark.tables import ANOMALY_SESSIONS, CLINICAL_TREND, TOP_DOCS, TRAFFIC_MINUTE

if TYPE_CHECKING:
    import psycopg
    from pyspark.sql import DataFrame

_CLAIM: Final = """
    INSERT INTO mart_realtime_batches AS known (query_id, batch_id, max_event_ts)
    VALUES (%(stream)s, %(batch)s, to_timestamp(%(newest_ms)s / 1000.0))
    ON CONFLICT (query_id) DO UPDATE
    SET batch_id = excluded.batch_id, max_event_ts = excluded.max_event_ts, updated_at = now()
    WHERE known.batch_id < excluded.batch_id
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


def write(
    connection: "psycopg.Connection[Any]", stream: str, batch_id: int, newest_ms: int, marts: "dict[str, DataFrame]"
) -> str:
    """Compute `marts`, write them with the batch's id in one transaction, and say what that was."""
    rows = {table: as_text(mart).collect() for table, mart in marts.items()}
    with connection.transaction():
        if not _claim(connection, stream, batch_id, newest_ms):
            return "which are in PostgreSQL already"
        upsert_rows(connection, TRAFFIC_MINUTE, ["event_minute"], marts[TRAFFIC_MINUTE].columns, rows[TRAFFIC_MINUTE])
        for table in (TOP_DOCS, CLINICAL_TREND):
            _put_snapshot(connection, table, marts[table].columns, rows[table])
        anomalies = _add_anomalies(connection, marts[ANOMALY_SESSIONS].dtypes, rows[ANOMALY_SESSIONS])
    return (
        f"wrote {len(rows[TRAFFIC_MINUTE]):,} minutes, {len(rows[TOP_DOCS])} top documents, "
        f"{len(rows[CLINICAL_TREND])} clinical areas, {anomalies} new anomalies"
    )


def _claim(connection: "psycopg.Connection[Any]", stream: str, batch_id: int, newest_ms: int) -> bool:
    """Whether the batch is not in yet; the transaction's end makes it so, and another writer waits for that."""
    connection.execute("LOCK TABLE mart_realtime_batches IN SHARE ROW EXCLUSIVE MODE")
    values = {"stream": stream, "batch": batch_id, "newest_ms": newest_ms}
    return connection.execute(_CLAIM, values).rowcount == 1


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
    types = {"timestamp": "timestamptz", "string": "text"}
    values = ", ".join(f"%s::{types.get(kind, kind)} AS {name}" for name, kind in columns)
    statement = _ADD_ANOMALY.format(columns=", ".join(name for name, _ in columns), values=values)
    with connection.cursor() as cursor:
        cursor.executemany(statement.encode(), rows)
        return max(cursor.rowcount, 0)
