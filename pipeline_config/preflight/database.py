"""PostgreSQL: a login, and the rights that the jobs need on their tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jobs.spark.postgres import MIGRATIONS
from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Probe
from pipeline_config.preflight.settings import Connection, Settings, variable_of

if TYPE_CHECKING:
    import psycopg

RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE"]
HISTORY = "schema_migrations"
_CREATED = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_MISSING = """
    SELECT name, "right" FROM unnest(%s::text[]) AS name, unnest(%s::text[]) AS "right"
    WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), "right")
"""


def probes(settings: Settings, name: str) -> list[Probe]:
    """One of the login, and one of the rights."""
    fix = f"look at the server and its firewall, and at the address in {name}"
    return [
        Probe(name, lambda: _login(settings, name), fix),
        Probe(f"{name} rights", lambda: _rights(settings, name), fix),
    ]


def _login(settings: Settings, name: str) -> str:
    with _connect(settings, name) as session:
        version = session.info.server_version // 10000
        return f"{_address(settings.connection(name))}, PostgreSQL {version}"


def _rights(settings: Settings, name: str) -> str:
    try:
        session = _connect(settings, name)
    except Failure:
        raise Failure(f"not tried, since {name} failed", f"mend {name} first") from None
    with session:
        files = sorted(MIGRATIONS.glob("*.sql"))
        tables = [HISTORY, *(table for file in files for table in _CREATED.findall(file.read_text(encoding="utf-8")))]
        user = settings.connection(name).login
        missing = session.execute(_MISSING, (tables, RIGHTS)).fetchall()
        if missing:
            rights = ", ".join(right for right in RIGHTS if right in {row[1] for row in missing})
            without = ", ".join(table for table in tables if table in {row[0] for row in missing})
            raise Failure(f"{user} lacks {rights} on {without}", f"GRANT {rights} ON {without} TO {user}")
        pending = {file.stem for file in files} - _applied(session)
        if pending:
            _require_create(session, user)
            return f"may make tables: {', '.join(sorted(pending))}.sql still to come"
        return f"{', '.join(RIGHTS)} on {len(tables)} tables"


def _applied(session: psycopg.Connection[Any]) -> set[str]:
    if session.execute("SELECT to_regclass(%s)", (HISTORY,)).fetchone() == (None,):
        return set()
    return {row[0] for row in session.execute(f"SELECT version FROM {HISTORY}".encode())}


def _require_create(session: psycopg.Connection[Any], user: str) -> None:
    row = session.execute("SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')").fetchone()
    schema, may = row or (None, False)
    if not may:
        where = schema or "public"
        raise Failure(
            f"{user} may not make tables in schema {where}", f"GRANT USAGE, CREATE ON SCHEMA {where} TO {user}"
        )


def _connect(settings: Settings, name: str) -> psycopg.Connection[Any]:
    import psycopg

    connection = settings.connection(name)
    fields: dict[str, Any] = {
        "host": connection.host,
        "port": connection.port or 5432,
        "dbname": connection.schema,
        "user": connection.login,
        "password": connection.password,
        "sslmode": connection.extra.get("sslmode"),
    }
    try:
        return psycopg.connect(
            connect_timeout=ANSWER_SECONDS,
            options=f"-c statement_timeout={ANSWER_SECONDS}s -c default_transaction_read_only=on",
            **{name: value for name, value in fields.items() if value},
        )
    except psycopg.OperationalError as error:
        why = str(error).strip().splitlines()[0]
        raise Failure(f"{_address(connection)}: {why}", _fix(why, name)) from None


def _fix(why: str, name: str) -> str:
    if "no password supplied" in why:
        return f"add the password to {name} in Airflow, or give the connection as {variable_of(name)}"
    if "authentication failed" in why:
        return f"correct login or password of {name} in Airflow"
    if "does not exist" in why:
        return f"make it there, or correct {name}"
    return f"start PostgreSQL there, let this host in, or correct {name}"


def _address(connection: Connection) -> str:
    return f"{connection.login}@{connection.host}:{connection.port or 5432}/{connection.schema}"
