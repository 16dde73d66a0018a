"""When the incremental ETL does not go on from what a mart has, and what a commit's note says."""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import JobError
from jobs.spark import columns_cold, search_marts_etl
from jobs.spark.analytics_mart_etl import DEFINING
from jobs.spark.columns_cold import COLD
from jobs.spark.etl import definitions, refuse, without_docs
from jobs.spark.incremental import touched
from jobs.spark.mart import Run, TableVersion, Written, changed_since

CLICKS = TableVersion("/lake/clicks", "one", 7, notes_changes=True)
LAST = Run("a", "code", CLICKS, replace(CLICKS, path="/lake/quarantine"))
REASONS = {
    "definitions of the marts": replace(LAST, definitions="other code"),
    "stream was recreated": replace(LAST, clicks=replace(CLICKS, table_id="two")),
    "was recreated since": replace(LAST, quarantine=None),
    "did not record its changes": replace(LAST, clicks=replace(CLICKS, notes_changes=False)),
}


def written(last: Run, hours_ago: float = 1) -> Written:
    return Written(last, dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours_ago), {}, {})


@pytest.mark.parametrize("reason", REASONS)
def test_what_an_incremental_run_cannot_continue_from(reason: str) -> None:
    refuse(written(LAST), replace(LAST, run_id="b", clicks=replace(CLICKS, version=9)))
    with pytest.raises(JobError, match=reason):
        refuse(written(REASONS[reason]), LAST)


def test_an_old_run_is_not_continued_from() -> None:
    refuse(written(LAST, 7 * 24 - 1), LAST)
    with pytest.raises(JobError, match="7 days ago"):
        refuse(written(LAST, 7 * 24 + 1), LAST)


def test_a_note_is_read_as_it_was_written() -> None:
    for run in (LAST, replace(LAST, quarantine=None), replace(LAST, days=["2026-05-04"])):
        assert Run.of(run.note) == run
    for other in ("0123abc", "{}", "[1]", "7", '{"clicks": {"path": 1}, "quarantine": null}'):
        with pytest.raises(JobError, match="written by another version"):
            Run.of(other)


def test_the_days_that_changed_since_each_run_are_known_until_one_that_computed_in_full() -> None:
    runs = [replace(LAST, run_id=name, days=days) for name, days in (("d", ["2026-05-04"]), ("c", ["2026-05-01"]))]
    notes = [run.note for run in (*runs, replace(LAST, run_id="b"), LAST)]
    first, both = {dt.date(2026, 5, 4)}, {dt.date(2026, 5, 4), dt.date(2026, 5, 1)}
    assert changed_since(notes) == {"d": set(), "c": first, "b": both}
    assert changed_since([notes[0], "of another version", *notes[1:]]) == {"d": set()}


def test_a_day_touches_those_that_are_compared_with_it() -> None:
    day, week_later = dt.date(2026, 5, 4), dt.date(2026, 5, 11)
    assert touched("session_analysis", [day]) == {day}
    assert touched("clinical_areas", [day]) == {day, week_later}
    assert touched("daily_traffic", [day]) == {day, dt.date(2026, 5, 5), week_later}


def test_the_definitions_are_those_of_the_code_and_not_its_comments() -> None:
    assert definitions(DEFINING, COLD) == definitions(DEFINING, COLD)
    assert len(definitions(DEFINING, COLD)) == 64
    code = 'def f():\n    """What it does."""\n    return 1'
    assert without_docs(code) == without_docs("def f():  # as before\n    return 1")
    assert without_docs(code) != without_docs(code.replace("1", "2"))


@pytest.mark.parametrize(
    ("makers", "defining"),
    [
        ({"jobs.spark.cold_writer", "jobs.spark.incremental"}, DEFINING),
        ({"jobs.spark.search_writer", "jobs.spark.search_marts_etl"}, search_marts_etl.DEFINING),
    ],
)
def test_the_definitions_are_those_of_all_modules_that_the_rows_are_made_by(
    makers: set[str], defining: tuple[str, ...]
) -> None:
    around = {f"jobs.{name}" for name in ("arguments", "cli", "console", "errors")}
    around |= {f"jobs.spark.{name}" for name in ("delta_log", "etl", "one_writer", "session", "upkeep", "writer")}
    known = {"jobs.spark.columns", "jobs.spark.columns_cold", "jobs.spark.columns_search"}  # by what they hold
    found, left = set[str](), makers
    while left:
        found |= left
        left = {name for module in left for name in imported(module)} - found - around
    assert found - known == set(defining)


def imported(module: str) -> Iterator[str]:
    """The modules of `jobs` that a module imports, where it does so not for its types alone."""
    tree = ast.parse(Path(f"{module.replace('.', '/')}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jobs"):
            names = [f"{node.module}.{name.name}" for name in node.names]
            modules = [name for name in names if Path(f"{name.replace('.', '/')}.py").exists()]
            yield from modules or [str(node.module)]


def test_the_definitions_have_the_columns_and_not_what_the_dictionary_says_of_them() -> None:
    def with_column(**changes: Any) -> str:
        table = columns_cold.DAILY_TRAFFIC
        first, *others = table.columns
        changed = replace(table, columns=(replace(first, **changes), *others), meaning=str(changes))
        return definitions(DEFINING, [changed])

    assert with_column() == with_column(meaning="other words", unit="other words")
    assert with_column() != with_column(name="another")
    assert with_column() != with_column(type="timestamptz")
