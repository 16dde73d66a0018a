"""PostgreSQL as the jobs see it: address and secret from libpq's environment, tables by versioned SQL, rows by COPY."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.cli import JobError, say

if TYPE_CHECKING:
    import psycopg

MIGRATIONS = Path(__file__).parent / "sql"
LOCK = 7_201_310  # of our migrations; any number that no other program of the database uses


def connect() -> "psycopg.Connection[Any]":
    """A connection to the database of the environment (PGHOST and so on, or PGSERVICE), its tables up to date.

    JobError says which part of the environment is missing or wrong; no message holds the password.
    """
    import psycopg

    if not (os.environ.get("PGHOST") or os.environ.get("PGSERVICE")):
        raise JobError(
            "PGHOST is not set: declare the connection postgres_gold in the pipeline's YAML, and let the Spark "
            "server's sshd accept it (AcceptEnv PG* AWS_*)"
        )
    where = os.environ.get("PGSERVICE") or f"{os.environ['PGHOST']}:{os.environ.get('PGPORT', '5432')}"
    try:
        connection = psycopg.connect("", connect_timeout=10, application_name="tripclick", options="-c timezone=UTC")
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[-1]
        raise JobError(f"PostgreSQL at {where} refuses: {why}; look at the connection postgres_gold") from None
    migrate(connection)
    return connection


def migrate(connection: "psycopg.Connection[Any]") -> None:
    """Apply each file of sql/ that this database has not had, in the order of their numbers, all in one transaction."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row[0] for row in connection.execute("SELECT version FROM schema_migrations")}
        for path in sorted(MIGRATIONS.glob("*.sql")):
            if path.stem not in done:
                connection.execute(path.read_bytes())
                connection.execute("INSERT INTO schema_migrations (version) VALUES (%s)", (path.stem,))
                say(f"applied {path.name}")


def copy_rows(
    connection: "psycopg.Connection[Any]", table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """COPY rows into a table within the caller's transaction; how many."""
    from psycopg import sql

    count = 0
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def insert_rows(
    connection: "psycopg.Connection[Any]",
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    on_conflict: str = "",
) -> int:
    """INSERT rows within the caller's transaction, with an ON CONFLICT clause of ours; how many were written."""
    from psycopg import sql

    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) " + on_conflict).format(sql.Identifier(table), names, places)
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return cursor.rowcount
