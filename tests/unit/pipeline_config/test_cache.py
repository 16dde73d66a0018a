"""What the loader remembers of the check, and when it checks again."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from pipeline_config import cache
from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import ROOT, Project, load_project
from tests.mutations.mutate import KINDS, Source, mutant

MEMORY = "__pycache__/pipelines.json"


class Counted:
    """The check, and how often it was called."""

    calls = 0

    def __call__(self, project: Project) -> list[Problem]:
        self.calls += 1
        return check(project)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(cache, "check", counted)
    return counted


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one problem and one warning."""
    for name in ("pipelines", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "jobs").mkdir()
    path = tmp_path / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("schedule: null", 'schedule: ["s3://a/b"]\ncolour: red'))
    return tmp_path


def test_the_second_load_finds_the_same_without_a_check(root: Path, counted: Counted) -> None:
    first, found = cache.load_checked(root)
    second, remembered = cache.load_checked(root)
    assert counted.calls == 1
    assert remembered == found
    assert [problem.path for problem in found] == ["colour"]
    assert [document.data for document in second.pipelines] == [document.data for document in first.pipelines]


@pytest.mark.parametrize("change", ["pipelines/mart/new.yaml", "schemas/new.json", "jobs/new.py", "new.py"])
def test_any_change_of_what_the_check_reads_is_seen_at_once(root: Path, counted: Counted, change: str) -> None:
    cache.load_checked(root)
    (root / change).write_text("{}" if change.endswith("json") else "", encoding="utf-8")
    _, found = cache.load_checked(root)
    assert counted.calls == 2
    assert len(found) == (2 if change.endswith("yaml") else 1), "an empty pipeline is a problem"


def test_a_changed_value_of_an_environment_is_seen(
    root: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.load_checked(root)
    monkeypatch.setenv("STACK_KAFKA_PORT", "no port")
    cache.load_checked(root)
    assert counted.calls == 2


def errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def test_an_edit_that_no_other_file_sees_is_checked_alone(root: Path, counted: Counted) -> None:
    path = root / "pipelines/mart/tripclick_load_postgres.yaml"
    right = path.read_text(encoding="utf-8").replace("colour: red\n", "")
    path.write_text(right, encoding="utf-8")
    cache.load_checked(root)
    path.write_text(right.replace("mart-path:", "mart-pth:"), encoding="utf-8")
    project, found = cache.load_checked(root)
    assert counted.calls == 1
    assert errors(found) == errors(check(load_project(root)))
    assert [problem.path for problem in errors(found)] == ["tasks[1].arguments.mart-pth"]
    assert project.pipeline("tripclick_load_postgres")["tasks"][1]["arguments"].keys() >= {"mart-pth"}
    assert cache.load_checked(root)[1] == found
    path.write_text(right.replace("in_full", "whole"), encoding="utf-8")  # a param, which others may set
    cache.load_checked(root)
    assert counted.calls == 2


def test_after_an_edit_the_errors_are_those_of_the_whole_check(root: Path) -> None:
    random = Random(7)  # noqa: S311 (to be repeated, not to be secret)
    files = sorted((root / "pipelines").glob("*/tripclick_*.yaml"))
    cache.load_checked(root)
    for kind in (*KINDS, *KINDS):
        path = random.choice(files)
        path.write_bytes(mutant(Source(path.read_text(encoding="utf-8")), kind, random))
        assert errors(cache.load_checked(root)[1]) == errors(check(load_project(root)))
        shutil.copy(ROOT / path.relative_to(root), path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}'])
def test_a_memory_that_cannot_be_read_is_no_memory(root: Path, counted: Counted, content: str) -> None:
    cache.load_checked(root)
    (root / MEMORY).write_text(content, encoding="utf-8")
    _, found = cache.load_checked(root)
    assert (counted.calls, len(found)) == (2, 1)


def test_where_nothing_can_be_written_it_checks_each_time(root: Path, counted: Counted) -> None:
    (root / "__pycache__").write_text("not a folder", encoding="utf-8")
    cache.load_checked(root)
    _, found = cache.load_checked(root)
    assert (counted.calls, len(found)) == (2, 1)
