"""What the loader remembers of the check, and when it checks again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_config import cache
from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import ROOT, Project

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
