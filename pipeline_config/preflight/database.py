"""PostgreSQL: a login, and the rights that the jobs need on their tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.spark.migrations import HISTORY, MIGRATIONS, OWNER, set_up
from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Probe
from pipeline_config.preflight.settings import Connection, Settings, variable_of

if TYPE_CHECKING:
    import psycopg


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
        connection = settings.connection(name)
        missing = _missing_authority(connection)
        unchecked = f"; its certificate is not checked: {missing} is not on this machine" if missing else ""
        return f"{_address(connection)}, PostgreSQL {version}{unchecked}"


def _rights(settings: Settings, name: str) -> str:
    try:
        session = _connect(settings, name)
    except Failure:
        raise Failure(f"not tried, since {name} failed", f"fix {name} first") from None
    with session:
        user = settings.connection(name).login
        found = set_up(session)
        if not found.becomes_owner:
            raise Failure(f"{user} may not become {OWNER}, who owns the tables", f"as superuser: {found.way_out}")
        if found.creates:
            raise Failure(f"{user} may make tables without being {OWNER}", f"as superuser: {found.way_out}")
        pending = sorted({file.stem for file in MIGRATIONS.glob("*.sql")} - _applied(session))
        return f"becomes {OWNER} to migrate; " + (f"to come: {', '.join(pending)}" if pending else "nothing is to come")


def _applied(session: psycopg.Connection[Any]) -> set[str]:
    """The migrations that this database has had; none while the login may not read of them: the next one lets it."""
    if session.execute("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (HISTORY,)).fetchone() != (True,):
        return set()
    return {row[0] for row in session.execute(f"SELECT version FROM {HISTORY}".encode())}


def _connect(settings: Settings, name: str) -> psycopg.Connection[Any]:
    import psycopg

    connection = settings.connection(name)
    fields: dict[str, Any] = {
        "host": connection.host,
        "port": connection.port or 5432,
        "dbname": connection.schema,
        "user": connection.login,
        "password": connection.password,
        **_tls(connection),
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


def _tls(connection: Connection) -> dict[str, Any]:
    if _missing_authority(connection):
        return {"sslmode": "require"}
    return {name: connection.extra.get(name) for name in ("sslmode", "sslrootcert")}


def _missing_authority(connection: Connection) -> str:
    """The file of sslrootcert when only the Spark server has it."""
    path = str(connection.extra.get("sslrootcert") or "")
    return path if path and not Path(path).exists() else ""


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
