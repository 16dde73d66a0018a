"""The queries of docs/analysts.md, each with the columns that its answer has there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from stack.settings import REPOSITORY

if TYPE_CHECKING:
    import psycopg


def queries(language: str) -> list[tuple[str, list[str]]]:
    """Those in blocks of this language: sql of the cold and the hot tables, postgresql of the search tables."""
    page = (REPOSITORY / "docs/analysts.md").read_text(encoding="utf-8")
    found = re.findall(rf"```{language}\n(.+?)```\n\| (.+?) \|\n", page, re.DOTALL)
    return [(query, header.split(" | ")) for query, header in found]


def refuse_without_answer(connection: psycopg.Connection[Any], language: str) -> None:
    """AssertionError if a query has no rows, or other columns than on the page."""
    for query, header in queries(language):
        answer = connection.execute(query.encode())
        assert [column.name for column in answer.description or ()] == header
        assert answer.fetchall(), query
