"""The statements of the migrations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.spark.migrations import MIGRATIONS, statements
from jobs.spark.tables import COLD_MARTS, HOT_MARTS, SEARCH_MARTS

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


@pytest.mark.parametrize(
    ("begins", "marts"),
    [
        ("FUNCTION analyze_cold_marts", COLD_MARTS),
        ("FUNCTION analyze_search_marts", SEARCH_MARTS),
        ("VIEW freshness", (*COLD_MARTS, *HOT_MARTS)),
    ],
)
def test_what_lists_the_marts_lists_them_all(begins: str, marts: tuple[str, ...]) -> None:
    files = [path.read_text(encoding="utf-8") for path in sorted(MIGRATIONS.glob("*.sql"))]
    *_, newest = [
        text for file in files for _, text in statements(file) if re.match(f"CREATE (OR REPLACE )?{begins}", text)
    ]
    assert [mart for mart in marts if not re.search(rf"\b{mart}\b", newest)] == []
