"""The data dictionary: every table and column of the marts, as Markdown, and as the comments of PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from jobs.spark.anomaly_rules import RULES
from jobs.spark.columns import Column, Table
from jobs.spark.columns_cold import COLD
from jobs.spark.columns_hot import BATCHES, HOT
from jobs.spark.columns_search import SEARCH
from jobs.spark.columns_views import LOAD_HISTORY, LOADS, VIEWS

TABLES: Final = (*COLD, *SEARCH, *HOT, *VIEWS, BATCHES, LOADS, LOAD_HISTORY)
_HEAD: Final = """# Data dictionary

Generated from the code by `make docs`; PostgreSQL's comments have the same text.
All timestamps are UTC, and a day is a UTC date. A count of nothing is 0; a metric without a base is NULL, never 0.
"""


def comment(column: Column) -> str:
    """What a column means and its unit, in one line."""
    return f"{column.meaning} [{column.unit}]" if column.unit else column.meaning


def markdown() -> str:
    """The text of docs/data-dictionary.md."""
    return "\n".join((_HEAD, *(line for table in TABLES for line in _section(table)), *_rules()))


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n\n{table.meaning} Key: {', '.join(table.key)}.\n"
    yield "| column | type | unit | meaning |\n|---|---|---|---|"
    for column in table.columns:
        meaning = column.meaning.replace("<", "&lt;")  # a label, which Markdown would take for HTML
        yield f"| `{column.name}` | {column.type} | {column.unit} | {meaning} |"
    yield ""


def _rules() -> Iterator[str]:
    yield "## Anomaly rules\n"
    yield "What makes a session anomalous; sliding windows exclude their start and include their end.\n"
    yield f"| rule | metric | {' | '.join(name for name, _ in RULES[0].levels)} |\n|---|---|---|---|"
    for rule in RULES:
        yield f"| `{rule.rule_id}` | {rule.meaning} | {' | '.join(f'{level:g}' for _, level in rule.levels)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
