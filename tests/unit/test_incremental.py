"""When the incremental ETL does not go on from what a mart has, and what a commit's note says."""

import datetime as dt
from dataclasses import replace

import pytest

from jobs.cli import JobError
from jobs.spark.analytics_mart_etl import definitions, refuse, without_words
from jobs.spark.mart import Run, Snapshot, Written

CLICKS = Snapshot("/lake/clicks", "one", 7, notes_changes=True)
LAST = Run("a", "code", CLICKS, replace(CLICKS, path="/lake/quarantine"))
REASONS = {
    "definitions of the marts": replace(LAST, definitions="other code"),
    "was made anew": replace(LAST, clicks=replace(CLICKS, table_id="two")),
    "stream was made anew": replace(LAST, quarantine=None),
    "did not note its changes": replace(LAST, clicks=replace(CLICKS, notes_changes=False)),
}


def written(last: Run, hours_ago: float = 1) -> Written:
    return Written(last, dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours_ago), {})


@pytest.mark.parametrize("reason", REASONS)
def test_what_a_run_cannot_go_on_from(reason: str) -> None:
    refuse(written(LAST), replace(LAST, run_id="b", clicks=replace(CLICKS, version=9)))
    with pytest.raises(JobError, match=reason):
        refuse(written(REASONS[reason]), LAST)


def test_a_run_of_long_ago_is_none_to_go_on_from() -> None:
    refuse(written(LAST, 7 * 24 - 1), LAST)
    with pytest.raises(JobError, match="7 days ago"):
        refuse(written(LAST, 7 * 24 + 1), LAST)


def test_a_note_is_read_as_it_was_written() -> None:
    for run in (LAST, replace(LAST, quarantine=None)):
        assert Run.of(run.note) == run
    for other in ("0123abc", "{}", "[1]", "7", '{"clicks": {"path": 1}, "quarantine": null}'):
        with pytest.raises(JobError, match="written by another version"):
            Run.of(other)


def test_the_definitions_are_those_of_the_code_and_not_its_comments() -> None:
    assert definitions() == definitions()
    assert len(definitions()) == 64
    code = 'def f():\n    """What it does."""\n    return 1'
    assert without_words(code) == without_words("def f():  # as before\n    return 1")
    assert without_words(code) != without_words(code.replace("1", "2"))
