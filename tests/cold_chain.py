"""What the daily pipeline is given and what it leaves, for tests that run it in an Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from jobs.days import days_between
from jobs.producer.log_files import source_ms
from stack import demo
from stack.stack import Stack
from tests.reference import COLUMNS

Tables = dict[str, list[tuple[Any, ...]]]


def happened(stack: Stack, days: demo.Days, folder: Path) -> Path:
    """The log until the days' end, in `folder`: the lines that the daily pipeline sends."""
    for day in days_between(days.first, days.last):
        lines = (stack.log_folder / f"{day}.json").read_bytes().splitlines(keepends=True)
        until = days.until.timestamp() * 1000 - days.shift_ms
        (folder / f"{day}.json").write_bytes(b"".join(line for line in lines if (source_ms(line) or 0) < until))
    return folder


def cold_rows(stack: Stack, **other: Any) -> Tables:
    """The cold tables of PostgreSQL, their users' columns, sorted; `other` changes the login, as `dbname` does."""
    with psycopg.connect(**{**stack.postgres_login(), **other}, options="-c timezone=UTC") as connection:
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}".encode()).fetchall())
            for table, columns in COLUMNS.items()
        }
