"""PostgreSQL as the jobs see it: address and secret from libpq's environment, and how rows get in."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jobs.errors import JobError, NonRetryableError
from jobs.known_errors import infrastructure_error
from jobs.spark.jvm import map_in_arrow

if TYPE_CHECKING:
    import datetime as dt

    import psycopg
    import pyarrow as pa
    from psycopg import sql
    from pyspark.sql import SparkSession

HUNG_MS: Final = 10 * 60 * 1000  # that a job hanging between two statements blocks others, and that one waits
NEEDED: Final = ("PGHOST", "PGDATABASE", "PGUSER")
ROWS_A_CHUNK: Final = 10_000
_COMPRESSION: Final = "lz4"  # of a chunk on its way
_HOLDERS: Final = """
    SELECT string_agg(DISTINCT format('%%s (%%s, %%s)', pid, usename, application_name), ', ')
    FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation
    WHERE granted AND pid <> pg_backend_pid() AND relnamespace = current_schema()::regnamespace
    AND relname = ANY(%s) AND (%s OR mode NOT IN ('AccessShareLock', 'RowShareLock'))
"""


def connect() -> psycopg.Connection[Any]:
    """A connection to the database of libpq's environment (PGHOST and so on, or PGSERVICE), in autocommit mode.

    JobError names the part of the environment that is missing or wrong; no message contains the password.
    """
    import psycopg

    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing and not os.environ.get("PGSERVICE"):
        raise NonRetryableError(
            f"{', '.join(missing)} not set: declare the PostgreSQL connection in the pipeline's YAML, "
            "and let the Spark server's sshd accept it (AcceptEnv PG*); or set PGSERVICE there"
        )
    limits = (f"-c {name}={HUNG_MS}" for name in ("idle_in_transaction_session_timeout", "lock_timeout"))
    options = " ".join([os.environ.get("PGOPTIONS", ""), *limits])
    try:
        return psycopg.connect("", autocommit=True, connect_timeout=10, application_name="tripclick", options=options)
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[0]
        wrong = f"PostgreSQL: {why}; check the connection and the server"
        raise infrastructure_error(error) or JobError(wrong) from None


def holders(connection: psycopg.Connection[Any], tables: Collection[str], *, readers: bool) -> str:
    """Which sessions use these tables, those that only read them as well or not: `pid (login, application)`."""
    ((found,),) = connection.execute(_HOLDERS, (list(tables), readers))
    return found or "a session that has ended"


def as_csv(
    spark: SparkSession, files: Sequence[str], columns: Sequence[str], days: Collection[dt.date] | None = None
) -> Iterator[bytes]:
    """The rows of Parquet files, or those whose event_date is one of `days`, as chunks of what COPY calls csv.

    Spark's tasks render them, and only a few chunks are here at a time. Spark itself carries the files unread: it would
    turn each row into its own form and back, which takes four times as long and ten times the memory.
    """
    import pyarrow as pa

    if files:
        names = [re.sub(r"[\\*?\[\]{}]", r"\\\g<0>", file) for file in files]  # what would be a pattern is none
        contents = spark.read.format("binaryFile").load(names).select("content")
        chunks = map_in_arrow(contents, partial(_to_csv, columns, days), {"chunk": "binary"})
        for row in chunks.toLocalIterator(prefetchPartitions=True):
            yield pa.CompressedInputStream(pa.BufferReader(row.chunk), _COMPRESSION).read()


def _to_csv(
    columns: Sequence[str], days: Collection[dt.date] | None, files: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Every text is quoted, an empty one too: without quotes that is NULL."""
    import pyarrow as pa
    from pyarrow import csv

    for content in (each for batch in files for each in batch["content"]):
        for rows in _rows(content.as_buffer(), columns, days):
            text = pa.BufferOutputStream()
            with pa.CompressedOutputStream(text, _COMPRESSION) as lines:
                csv.write_csv(rows, lines, csv.WriteOptions(include_header=False))
            yield pa.record_batch({"chunk": pa.array([text.getvalue().to_pybytes()], pa.binary())})


def _rows(file: pa.Buffer, columns: Sequence[str], days: Collection[dt.date] | None) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import compute, parquet

    # Spark's timestamps are UTC, with microseconds; INT96, in files of earlier versions, says neither.
    content = parquet.ParquetFile(pa.BufferReader(file), coerce_int96_timestamp_unit="us")
    for batch in content.iter_batches(ROWS_A_CHUNK, columns=list(columns)):
        rows = batch.select(columns)
        rows = rows.cast(pa.schema(field.with_type(_in_utc(field.type)) for field in rows.schema))
        yield rows if days is None else rows.filter(compute.is_in(rows["event_date"], pa.array(days, pa.date32())))


def _in_utc(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind


def copy_rows(connection: psycopg.Connection[Any], table: str, columns: Sequence[str], chunks: Iterable[bytes]) -> int:
    """COPY the chunks of `as_csv` into a table within the caller's transaction; returns how many rows."""
    from psycopg import sql

    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(table), _names(columns))
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for chunk in chunks:
                copy.write(chunk)
        return cursor.rowcount


def insert_rows(
    connection: psycopg.Connection[Any], table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """INSERT rows within the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(_insert(table, columns), rows)


def upsert_rows(
    connection: psycopg.Connection[Any],
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> int:
    """INSERT rows within the caller's transaction; returns how many are new or changed.

    A row that equals the existing row of its key changes nothing; any other replaces it and sets updated_at.
    """
    from psycopg import sql

    others = [name for name in columns if name not in key]
    before, after = (sql.SQL(", ").join(sql.Identifier(of, name) for name in others) for of in (table, "excluded"))
    changed = sql.SQL(
        " ON CONFLICT ({}) DO UPDATE SET ({}) = ROW ({}), updated_at = now() WHERE ({}) IS DISTINCT FROM ({})"
    ).format(_names(key), _names(others), after, before, after)
    with connection.cursor() as cursor:
        cursor.executemany(_insert(table, columns) + changed, rows)
        return max(cursor.rowcount, 0)


def _insert(table: str, columns: Sequence[str]) -> sql.Composed:
    from psycopg import sql

    places = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), _names(columns), places)


def _names(columns: Sequence[str]) -> sql.Composed:
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, columns))
