"""The marts' PostgreSQL: a login, and the rights that the jobs need on their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.spark.migrations import HISTORY, MIGRATIONS, OWNER, set_up
from pipeline_config.preflight.database import connect, fix_of, signs_in
from pipeline_config.preflight.probe import Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.uses import Asked

if TYPE_CHECKING:
    import psycopg


def ask(asked: Asked) -> list[Probe]:
    """One of the login, and one of the rights."""
    return probes(asked.settings, asked.name)


def probes(settings: Settings, name: str) -> list[Probe]:
    """The same of a connection by its name."""
    return [signs_in(settings, name), Probe(f"{name} rights", lambda: _rights(settings, name), fix_of(name))]


def _rights(settings: Settings, name: str) -> str:
    try:
        session = connect(settings, name)
    except Failure:
        raise Failure(f"not tried, since {name} failed", f"fix {name} first") from None
    with session:
        user = settings.connection(name).login
        found = set_up(session)
        if not found.becomes_owner:
            raise Failure(f"{user} cannot become {OWNER}, who owns the tables", f"as superuser: {found.fix}")
        if found.creates:
            raise Failure(f"{user} can create tables without being {OWNER}", f"as superuser: {found.fix}")
        pending = sorted({file.stem for file in MIGRATIONS.glob("*.sql")} - _applied(session))
        return f"becomes {OWNER} to migrate; " + (f"to apply: {', '.join(pending)}" if pending else "nothing to apply")


def _applied(session: psycopg.Connection[Any]) -> set[str]:
    """The migrations that this database has had; none while the login may not read of them: the next one lets it."""
    if session.execute("SELECT has_table_privilege(to_regclass(%s), 'SELECT')", (HISTORY,)).fetchone() != (True,):
        return set()
    return {row[0] for row in session.execute(f"SELECT version FROM {HISTORY}".encode())}
