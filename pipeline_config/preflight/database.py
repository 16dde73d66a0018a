"""PostgreSQL: a login."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Probe
from pipeline_config.preflight.settings import Connection, Settings, variable_of
from pipeline_config.preflight.uses import Asked

if TYPE_CHECKING:
    import psycopg


def ask(asked: Asked) -> list[Probe]:
    """One probe: whether the login works."""
    return [signs_in(asked.settings, asked.name)]


def signs_in(settings: Settings, name: str) -> Probe:
    """The probe of the login."""
    return Probe(name, lambda: _login(settings, name), fix_of(name))


def fix_of(name: str) -> str:
    """What to do when nothing answers."""
    return f"check the server, its firewall, and the address in {name}"


def _login(settings: Settings, name: str) -> str:
    with connect(settings, name) as session:
        version = session.info.server_version // 10000
        connection = settings.connection(name)
        missing = _missing_authority(connection)
        unchecked = f"; its certificate is not checked: {missing} is not on this machine" if missing else ""
        return f"{_address(connection)}, PostgreSQL {version}{unchecked}"


def connect(settings: Settings, name: str) -> psycopg.Connection[Any]:
    """A read-only session; Failure says what the connection or the server lacks."""
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
    """The file of sslrootcert if only the Spark server has it."""
    path = str(connection.extra.get("sslrootcert") or "")
    return path if path and not Path(path).exists() else ""


def _fix(why: str, name: str) -> str:
    if "no password supplied" in why:
        return f"add the password to {name} in Airflow, or give the connection as {variable_of(name)}"
    if "authentication failed" in why:
        return f"correct login or password of {name} in Airflow"
    if "does not exist" in why:
        return f"create it there, or correct {name}"
    return f"start PostgreSQL there, let this host in, or correct {name}"


def _address(connection: Connection) -> str:
    return f"{connection.login}@{connection.host}:{connection.port or 5432}/{connection.schema}"
