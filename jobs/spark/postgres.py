"""PostgreSQL as the jobs see it: address and secret from libpq's environment, tables by versioned SQL, rows by COPY."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import JobError, say
from jobs.spark import dictionary
from jobs.spark.columns_views import VIEWS

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql
    from pyspark.sql import DataFrame

MIGRATIONS: Final = Path(__file__).parent / "sql"
LOCK: Final = 7_201_310  # of our migrations; any number that no other program of the database uses
READER: Final = "tripclick_reader"  # what dashboards sign in as, or a group of such roles
NEEDED: Final = ("PGHOST", "PGDATABASE", "PGUSER")
_COMMENTS: Final = """
    SELECT relname, attname, coalesce(col_description(attrelid, attnum), '')
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
    UNION ALL SELECT relname, '', coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
"""
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
        raise JobError(f"PostgreSQL: {why}; look at the connection postgres_gold and at the server") from None


def migrate(connection: "psycopg.Connection[Any]") -> None:
    """Apply each file of sql/ that this database has not had, in the order of their numbers, all in one transaction.

    Then the comments: they are the data dictionary's, and stand in no file; and the right of READER to read.
    """
    import psycopg

    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        # Asked first: IF NOT EXISTS needs the right to create even when there is nothing to do.
        if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
            connection.execute(
                "CREATE TABLE schema_migrations "
                "(version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
        done = {row[0] for row in connection.execute("SELECT version FROM schema_migrations")}
        for path in sorted(MIGRATIONS.glob("*.sql")):
            if path.stem in done:
                continue
            try:
                connection.execute(path.read_bytes())
            except psycopg.errors.DuplicateTable as error:
                raise JobError(f"{path.name}: {error.diag.message_primary}, not made by this job: rename it") from None
            connection.execute("INSERT INTO schema_migrations (version) VALUES (%s)", (path.stem,))
            say(f"applied {path.name} to PostgreSQL")
        describe(connection)
        let_read(connection)


def describe(connection: "psycopg.Connection[Any]") -> None:
    """Put the data dictionary's words into the comments of tables and columns, where those are others.

    Only then, for none but a table's owner may do it.
    """
    from psycopg import sql

    there = {(table, column): text for table, column, text in connection.execute(_COMMENTS)}
    for table in dictionary.TABLES:
        texts = {"": table.meaning, **{column.name: dictionary.comment(column) for column in table.columns}}
        for column, text in texts.items():
            if there[table.name, column] != text:
                what = sql.SQL("COLUMN {}") if column else sql.SQL("VIEW {}" if table in VIEWS else "TABLE {}")
                name = sql.Identifier(table.name, column) if column else sql.Identifier(table.name)
                connection.execute(sql.SQL("COMMENT ON {} IS {}").format(what.format(name), sql.Literal(text)))


def let_read(connection: "psycopg.Connection[Any]") -> None:
    """Let READER read what the data dictionary has, and nothing else, when this server has such a role."""
    from psycopg import sql

    asked = (
        "SELECT name FROM unnest(%s::text[]) AS name, pg_roles "
        "WHERE rolname = %s AND NOT has_table_privilege(pg_roles.oid, name, 'SELECT')"
    )
    names = [table.name for table in dictionary.TABLES]
    for (name,) in connection.execute(asked, (names, READER)).fetchall():
        grant = sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(name), sql.Identifier(READER))
        connection.execute(grant)


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
