"""The role of the dashboards: operators are told the same SQL that the stack runs."""

from __future__ import annotations

from stack.reader_role import reader_sql
from stack.settings import DATABASE, REPOSITORY


def test_operators_are_given_the_sql_that_leaves_the_reader_nothing_but_reading() -> None:
    page = " ".join((REPOSITORY / "docs" / "servers.md").read_text(encoding="utf-8").split())
    for statement in reader_sql(DATABASE):
        if "RESET ALL" not in statement:
            assert f"{' '.join(statement.replace(chr(34), '').split())};" in page
