"""PostgreSQL as the jobs see it: address and secret from libpq's environment, and how rows get in."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import JobError, outside

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql
    from pyspark.sql import DataFrame

NEEDED: Final = ("PGHOST", "PGDATABASE", "PGUSER")
_TIMESTAMP: Final = "yyyy-MM-dd HH:mm:ss.SSSSSSXXX"


def connect() -> "psycopg.Connection[Any]":
    """A connection to the database of libpq's environment (PGHOST and so on, or PGSERVICE), in autocommit mode.

    JobError says which part of the environment is missing or wrong; no message holds the password.
    """
    import psycopg

    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing and not os.environ.get("PGSERVICE"):
        raise JobError(
            f"{', '.join(missing)} not set: declare the connection postgres_gold on the task in the pipeline's YAML, "
            "and let the Spark server's sshd take it (AcceptEnv PG*); or set PGSERVICE there"
        )
    try:
        return psycopg.connect("", autocommit=True, connect_timeout=10, application_name="tripclick")
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[0]
        wrong = f"PostgreSQL: {why}; look at the connection postgres_gold and at the server"
        raise JobError(outside(error) or wrong) from None


def as_text(rows: "DataFrame") -> "DataFrame":
    """Timestamps as text with their offset: PySpark would hand them over in the host's own time zone, without one."""
    from pyspark.sql import functions as F

    return rows.select(
        *(F.date_format(name, _TIMESTAMP).alias(name) if kind == "timestamp" else name for name, kind in rows.dtypes)
    )


def copy_rows(
    connection: "psycopg.Connection[Any]", table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """COPY rows into a table within the caller's transaction; how many."""
    from psycopg import sql

    count = 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), _names(columns))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def insert_rows(
    connection: "psycopg.Connection[Any]", table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """INSERT rows within the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(_insert(table, columns), rows)


def upsert_rows(
    connection: "psycopg.Connection[Any]",
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """INSERT rows within the caller's transaction; one whose key is there replaces it, and its updated_at is now."""
    from psycopg import sql

    changes = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns if name not in key]
    changed = sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}, updated_at = now()")
    with connection.cursor() as cursor:
        cursor.executemany(
            _insert(table, columns) + changed.format(_names(key), sql.SQL(", ").join(changes)),
            rows,
        )


def _insert(table: str, columns: Sequence[str]) -> "sql.Composed":
    from psycopg import sql

    places = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), _names(columns), places)


def _names(columns: Sequence[str]) -> "sql.Composed":
    from psycopg import sql

    return sql.SQL(", ").join(map(sql.Identifier, columns))
