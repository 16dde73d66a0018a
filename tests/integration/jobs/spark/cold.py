"""The cold tables of PostgreSQL: loaded, read and compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.spark import load_postgres
from tests import reference
from tests.integration.jobs.spark.databases import rows_of


def load(root: Path, *options: str) -> None:
    """Run the load in this process."""
    load_postgres.run(load_postgres.parser().parse_args(["--mart-path", str(root / "mart"), *options]))


def cold_rows() -> dict[str, list[tuple[Any, ...]]]:
    """What PostgreSQL has, like reference.cold_tables."""
    return {table: sorted(rows_of(f"SELECT {columns} FROM {table}")) for table, columns in reference.COLUMNS.items()}


def different(
    rows: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """The first few rows that are not as expected: pytest would compare two long lists for minutes."""
    pairs = itertools.zip_longest(rows, expected)
    return itertools.islice((pair for pair in pairs if pair[0] != pair[1]), 5)
