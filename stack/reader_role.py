"""The privileges of the dashboards' role: to read the marts' database, and nothing else."""

from __future__ import annotations

from jobs.spark.migrations import READER
from stack.settings import template

READER_CONNECTIONS = 16  # of dashboards: two for each thread of Superset
READER_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "'30s'",  # no chart waits longer, and no forgotten query occupies the server
    "temp_file_limit": "'1GB'",  # which a role cannot change, unlike the two above
}


def reader_sql(database: str) -> list[str]:
    """The SQL that leaves READER only reading, as far as PostgreSQL can restrict a role; run as superuser."""
    return [
        f"ALTER ROLE {READER} CONNECTION LIMIT {READER_CONNECTIONS}",
        f"ALTER ROLE {READER} RESET ALL",
        f'ALTER ROLE {READER} IN DATABASE "{database}" RESET ALL',
        *(f"ALTER ROLE {READER} SET {name} = {value}" for name, value in READER_SETTINGS.items()),
        f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC',
        # Large objects would remain, and locks fill a shared table.
        template("no_writing_functions.sql").strip(),
    ]
