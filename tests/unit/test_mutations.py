"""Broken copies of the nine pipelines: what the run of `python -m tests.mutations` shows, on a few hundred."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from pipeline_config.project import ROOT, load_project
from tests.airflow_process import AirflowProcess
from tests.mutations.mutate import KINDS, Source, mutant
from tests.mutations.report import as_text
from tests.mutations.run import run
from tests.mutations.verdict import Verdict, judge
from tests.programs import program

PROJECT = load_project()
DAILY = PROJECT.pipeline("tripclick_daily_pipeline").place.document


def test_nearly_all_broken_files_are_caught_at_their_place_without_a_traceback(tmp_path: Path) -> None:
    text, good = as_text(run(tmp_path, seed=4, count=280))
    assert good, text


def test_airflow_gets_what_the_check_lets_through_and_the_loader_never_raises(airflow: AirflowProcess) -> None:
    result = airflow.run(program("mutates_a_little"), ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_the_same_mutants_again_and_none_is_the_file_itself(kind: str) -> None:
    source = Source(DAILY.text)
    one, other = ([mutant(source, kind, random) for _ in range(50)] for random in (Random(1), Random(1)))  # noqa: S311
    assert one == other
    assert DAILY.text.encode() not in one
    assert len(set(one)) > 20


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("tags: [tripclick, orchestration]", "tags: ['tripclick', orchestration] # why", Verdict.SAME),
        ("{{ params.last_date or", "{{params.last_date  or", Verdict.SAME),
        ("The cold chain", "The whole chain", Verdict.FREE),
        ("0 15 * * *", "30 3 * * 1", Verdict.FREE),
        ("until_caught_up: true", "until_caught_up: false", Verdict.FREE),
        ("days=1)) | ds }}", "days=2)) | ds }}", Verdict.FREE),
        ("0 15 * * *", "0 25 * * *", Verdict.WRONG),
        ("until_caught_up: true", "until_caught_up: 12", Verdict.WRONG),
        ("dependencies: [start]", "dependencies: []", Verdict.WRONG),
        ("format: date", "format: datum", Verdict.WRONG),
        ("or (dag_run.", "or (dag_rn.", Verdict.WRONG),
    ],
)
def test_the_verdict_tells_a_free_choice_from_a_mistake(old: str, new: str, verdict: Verdict, tmp_path: Path) -> None:
    changed = tmp_path / DAILY.file
    changed.parent.mkdir(parents=True)
    assert old in DAILY.text
    changed.write_text(DAILY.text.replace(old, new, 1), encoding="utf-8")
    data = next(document.data for document in load_project(tmp_path).pipeline_files)
    assert judge(PROJECT, DAILY.data, data)[0] is verdict
