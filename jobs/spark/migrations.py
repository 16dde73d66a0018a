"""PostgreSQL's tables: versioned SQL, run as the role that owns them, their comments and privileges."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.console import say
from jobs.errors import JobError, NonRetryableError
from jobs.spark import dictionary
from jobs.spark.columns_hot import BATCHES
from jobs.spark.columns_views import LOAD_HISTORY, LOADS, MISSING_DAYS, VIEWS
from jobs.spark.postgres import holders
from jobs.spark.tables import (
    ANOMALY_SESSIONS,
    CLINICAL_TREND,
    COLD_MARTS,
    SEARCH_MARTS,
    TOP_DOCS,
    TOP_DOCS_DAY,
    TRAFFIC_MINUTE,
)

if TYPE_CHECKING:
    import psycopg

MIGRATIONS: Final = Path(__file__).parent / "sql"
HISTORY: Final = "schema_migrations"
LOCK_TIMEOUT: Final = "5s"  # of a table: while a migration waits for it, later readers wait too
OWNER: Final = "tripclick_owner"  # owns the tables; nobody logs in as it, the jobs assume it to migrate
READER: Final = "tripclick_reader"  # the role that dashboards log in as, or a group of such roles
RIGHTS: Final[dict[str, tuple[str, ...]]] = {  # all privileges of the jobs' login
    HISTORY: ("SELECT",),
    **dict.fromkeys((*COLD_MARTS, *SEARCH_MARTS), ("SELECT", "INSERT", "DELETE")),
    LOADS.name: ("SELECT", "INSERT", "UPDATE"),
    LOAD_HISTORY.name: ("SELECT", "INSERT"),
    TRAFFIC_MINUTE: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    TOP_DOCS: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    TOP_DOCS_DAY: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    CLINICAL_TREND: ("SELECT", "INSERT", "DELETE"),
    ANOMALY_SESSIONS: ("SELECT", "INSERT"),
    BATCHES.name: ("SELECT", "INSERT", "UPDATE"),
    MISSING_DAYS.name: ("SELECT",),
}
ANALYZE: Final = "analyze_cold_marts()"  # what only an owner may do, wrapped in a function that the login may call
ANALYZE_SEARCH: Final = "analyze_search_marts()"
_SETTING: Final = """
    SELECT session_user, current_database(), current_schema(),
        (SELECT pg_has_role(session_user, oid, 'MEMBER') AND has_schema_privilege(oid, current_schema(), 'CREATE')
         FROM pg_roles WHERE rolname = %s),
        has_schema_privilege(session_user, current_schema(), 'CREATE')
"""
_FOREIGN: Final = """
    SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
    AND relname = ANY(%s) AND pg_get_userbyid(relowner) <> %s
"""
_COMMENTS: Final = """
    SELECT relname, attname, coalesce(col_description(attrelid, attnum), '')
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
    UNION ALL SELECT relname, '', coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
"""
_APPLIED: Final = f"""
    INSERT INTO {HISTORY} (version, checksum) VALUES (%s, %s)
    ON CONFLICT (version) DO UPDATE SET checksum = excluded.checksum
"""
_BEFORE_A_STATEMENT: Final = re.compile(r"(--.*|\s+)*")


def migrate(connection: psycopg.Connection[Any]) -> None:
    """Apply each file of sql/ that this database does not have yet, in order of number, in one transaction.

    Then set the comments, which come from the data dictionary, and the privileges of the login and READER.
    All of it runs as OWNER, who owns the result. JobError: the login cannot become OWNER, an
    applied file has changed, a lock is not free within LOCK_TIMEOUT, or PostgreSQL refuses a statement; then nothing
    has changed.
    """
    import psycopg

    try:
        with connection.transaction():
            _wait_for_locks(connection, LOCK_TIMEOUT)
            _become_owner(connection)
            _wait_for_locks(connection, "0")  # another migration may take as long as it needs
            _open_history(connection)
            _wait_for_locks(connection, LOCK_TIMEOUT)
            _apply_new(connection)
            describe(connection)
            grant(connection)
    except psycopg.errors.LockNotAvailable as error:
        raise JobError(
            f"PostgreSQL: {error.diag.message_primary}: a table of the marts was not free within {LOCK_TIMEOUT}, it is "
            f"in use by {holders(connection, _ours(), readers=True)}: let that transaction end and run it again; "
            "nothing has changed"
        ) from None


def _wait_for_locks(connection: psycopg.Connection[Any], limit: str) -> None:
    """From now on in this transaction; 0: no limit."""
    connection.execute(f"SET LOCAL lock_timeout = '{limit}'".encode())


def _open_history(connection: psycopg.Connection[Any]) -> None:
    """Lock the list of applied files, so that a second migration waits. Only OWNER can take this lock."""
    import psycopg

    columns = "version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now()"
    try:
        with connection.transaction():
            connection.execute(f"CREATE TABLE IF NOT EXISTS {HISTORY} ({columns})".encode())
    except psycopg.errors.UniqueViolation:
        pass  # another migration has created it while this one waited
    connection.execute(f"LOCK TABLE {HISTORY} IN SHARE ROW EXCLUSIVE MODE".encode())
    known = "SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'checksum'"
    if not connection.execute(known, (HISTORY,)).fetchall():
        connection.execute(f"ALTER TABLE {HISTORY} ADD COLUMN checksum text".encode())


def _apply_new(connection: psycopg.Connection[Any]) -> None:
    """Apply new files and record their checksums; JobError: an applied file has changed."""
    done = dict(connection.execute(f"SELECT version, checksum FROM {HISTORY}".encode()).fetchall())
    for path in sorted(MIGRATIONS.glob("*.sql")):
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.stem not in done:
            _apply(connection, path)
            say(f"applied {path.name} to PostgreSQL")
        elif done[path.stem] not in (None, checksum):
            raise NonRetryableError(
                f"{path.name} is not the file that was applied to this database: restore it, and put the change "
                "into a new file"
            )
        if done.get(path.stem) is None:  # applied now, or when no checksums were kept
            connection.execute(_APPLIED, (path.stem, checksum))


class SetUp(NamedTuple):
    """Whether a login can become OWNER, which can create, and can create by itself; and the SQL that fixes both."""

    becomes_owner: bool
    creates: bool
    fix: str


def set_up(connection: psycopg.Connection[Any]) -> SetUp:
    """How the connection's login, database and schema are set up for migrations."""
    ((login, database, schema, may, creates),) = connection.execute(_SETTING, (OWNER,))
    there = schema or "public"  # no schema: the login may use none
    create = [f"CREATE ROLE {OWNER}"] if may is None else []
    return SetUp(bool(may), bool(creates), "; ".join([*create, *owner_sql(login, database, there)]))


def owner_sql(login: str, database: str, schema: str) -> list[str]:
    """The SQL that gives a database and its schema to OWNER, and lets `login` become it explicitly."""
    from psycopg import sql

    login, database, schema = (sql.Identifier(name).as_string() for name in (login, database, schema))
    return [
        f"ALTER ROLE {login} NOINHERIT",  # first: since PostgreSQL 16 a grant keeps the role's setting
        f"GRANT {OWNER} TO {login}",
        f"ALTER DATABASE {database} OWNER TO {OWNER}",
        f"ALTER SCHEMA {schema} OWNER TO {OWNER}",
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {login}",
        f"GRANT USAGE ON SCHEMA {schema} TO {login}",
    ]


def describe(connection: psycopg.Connection[Any]) -> None:
    """Set the comments of tables and columns from the data dictionary, where they differ."""
    from psycopg import sql

    there = {(table, column): text for table, column, text in connection.execute(_COMMENTS)}
    for table in dictionary.TABLES:
        texts = {"": table.meaning, **{column.name: dictionary.comment(column) for column in table.columns}}
        for column, text in texts.items():
            if there[table.name, column] != text:
                what = sql.SQL("COLUMN {}") if column else sql.SQL("VIEW {}" if table in VIEWS else "TABLE {}")
                name = sql.Identifier(table.name, column) if column else sql.Identifier(table.name)
                connection.execute(sql.SQL("COMMENT ON {} IS {}").format(what.format(name), sql.Literal(text)))


def grant(connection: psycopg.Connection[Any]) -> None:
    """Grant the login its RIGHTS, and READER, if this server has one, SELECT on the dictionary's tables."""
    from psycopg import sql

    asked = (
        'SELECT name, "right", rolname FROM unnest(%s::text[], %s::text[]) AS wanted (name, "right"), pg_roles '
        'WHERE rolname = {} AND NOT has_table_privilege(pg_roles.oid, name, "right")'
    )
    work = [(name, right) for name, rights in RIGHTS.items() for right in rights]
    reading = [(table.name, "SELECT") for table in dictionary.TABLES]
    for who, wanted in (("session_user", work), (f"'{READER}'", reading)):
        values = [list(column) for column in zip(*wanted, strict=True)]
        for name, right, role in connection.execute(asked.format(who).encode(), values).fetchall():
            words = sql.SQL(right), sql.Identifier(name), sql.Identifier(role)
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(*words))
    asked = (
        "SELECT name FROM unnest(%s::text[]) AS name WHERE NOT has_function_privilege(session_user, name, 'EXECUTE')"
    )
    for (name,) in connection.execute(asked, ([ANALYZE, ANALYZE_SEARCH],)).fetchall():
        connection.execute(f"GRANT EXECUTE ON FUNCTION {name} TO SESSION_USER".encode())


def _become_owner(connection: psycopg.Connection[Any]) -> None:
    """Become OWNER until the transaction ends, in this schema; transfers our tables from the login to OWNER."""
    import psycopg
    from psycopg import sql

    found = set_up(connection)
    if not found.becomes_owner:
        refused = f"the login cannot become {OWNER}, who owns the tables"
        raise NonRetryableError(f"PostgreSQL: {refused}: run as superuser: {found.fix}")
    # The schema by its name: "$user" would differ for OWNER. And no temporary table shadows a real one.
    connection.execute("SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)")
    for (name,) in connection.execute(_FOREIGN, (_ours(), OWNER)).fetchall():
        give = sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(OWNER))
        try:
            connection.execute(give)
        except psycopg.errors.InsufficientPrivilege as error:
            why = error.diag.message_primary
            raise NonRetryableError(f"PostgreSQL: {why}: run as superuser: {give.as_string()}") from None
    connection.execute(f"SET LOCAL ROLE {OWNER}".encode())


def _ours() -> list[str]:
    """All tables and views of the schema that are ours."""
    return [HISTORY, *(table.name for table in dictionary.TABLES)]


def _apply(connection: psycopg.Connection[Any], path: Path) -> None:
    """Run a file's statements; JobError names the line of a refused one. Server failures keep their own error."""
    import psycopg

    for line, statement in statements(path.read_text(encoding="utf-8")):
        try:
            connection.execute(statement.encode())
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            line += statement.count("\n", 0, int(error.diag.statement_position or 1) - 1)
            is_there = isinstance(error, psycopg.errors.DuplicateTable)
            advice = ", not made by this job: rename it" if is_there else "; the database is as it was"
            raise NonRetryableError(f"{path.name}:{line}: {error.diag.message_primary}{advice}") from None


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with the number of its first line; a `;` at the end of a line ends one."""
    line = 1
    for part in re.split(r"(?<=;)\n", text):
        before = _BEFORE_A_STATEMENT.match(part)
        start = before.end() if before else 0
        if part[start:]:
            yield line + part.count("\n", 0, start), part[start:]
        line += part.count("\n") + 1
