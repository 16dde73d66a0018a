"""What the jobs say when the connection to PostgreSQL is not as it should be, and what their options refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.spark.analytics_mart_realtime import parser
from jobs.spark.migrations import MIGRATIONS, statements
from jobs.spark.postgres import NEEDED, connect


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that nobody is."""
    for name in ("PGSERVICE", "PGPASSFILE", "PGOPTIONS"):
        monkeypatch.delenv(name, raising=False)
    values = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATABASE": "d", "PGUSER": "u", "PGPASSWORD": "se-cret"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(JobError, match=rf"^{name} not set: declare the connection postgres_gold .*AcceptEnv PG\*"):
        connect()


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(JobError, match=r"127\.0\.0\.1.*port 1.*refused.*postgres_gold") as caught:
        connect()
    assert "\n" not in str(caught.value)
    assert "se-cret" not in str(caught.value)


@pytest.mark.parametrize("minutes", ["0", "-1", "5.1", "nan", "x"])
def test_micro_batches_every_five_minutes_at_most(minutes: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--curated-path", "c", "--checkpoint-path", "p", "--interval-minutes", minutes])


def test_defaults() -> None:
    options = parser().parse_args(["--curated-path", "c", "--checkpoint-path", "p", "--until-caught-up", "True"])
    assert (options.interval_minutes, options.run_minutes, options.until_caught_up) == (5.0, 60.0, True)


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
