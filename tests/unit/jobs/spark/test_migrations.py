"""The statements of a migration's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.spark.migrations import MIGRATIONS, statements

pytestmark = pytest.mark.usefixtures("unreachable_postgresql")


def test_statements_have_the_line_on_which_they_begin() -> None:
    text = "-- One; two;\n\nSELECT 1,\n  2;\n\n-- Three.\nSELECT '; ';\nSELECT 3"
    assert list(statements(text)) == [(3, "SELECT 1,\n  2;"), (7, "SELECT '; ';"), (8, "SELECT 3")]


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.name)
def test_no_statement_of_a_migration_is_cut_in_two(path: Path) -> None:
    found = list(statements(path.read_text()))
    assert found
    for _, statement in found:
        assert statement.rstrip().endswith(";")
        assert statement.count("'") % 2 == 0
        assert statement.count("$$") % 2 == 0
