"""What the loader remembers of the check, and when it checks again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from pipeline_config import cache, parsers
from pipeline_config.checks import check, check_again
from pipeline_config.guard import TooLongError
from pipeline_config.problem import Problem
from pipeline_config.project import ROOT, Project, load_project
from pipeline_config.reader import Document
from tests.mutations.mutate import KINDS, Source, mutant

MEMORY = "__pycache__/pipelines.json"


class Counted:
    """The check, how often it was called, and the names of the pipelines that were checked again without it."""

    calls = 0
    again: list[str]

    def check(self, project: Project) -> list[Problem]:
        self.calls += 1
        return check(project)

    def check_again(
        self,
        project: Project,
        changed: Sequence[Document],
        others: Sequence[Problem],
        seen: Mapping[str, frozenset[str]],
    ) -> list[Problem]:
        self.again = [Path(document.file).stem for document in changed]
        return check_again(project, changed, others, seen)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(cache, "check", counted.check)
    monkeypatch.setattr(cache, "check_again", counted.check_again)
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
    assert [file.data for file in second.pipeline_files] == [file.data for file in first.pipeline_files]


def test_what_took_too_long_is_not_remembered(root: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> NoReturn:
        raise TooLongError("it takes longer than 10 s")

    parsers.job_parser.cache_clear()
    with monkeypatch.context() as busy:
        busy.setattr(parsers, "_main_of", slow)
        assert "TooLongError" in str(cache.load_checked(root)[1])
    parsers.job_parser.cache_clear()
    assert [problem.path for problem in cache.load_checked(root)[1]] == ["colour"]
    assert counted.calls == 2


@pytest.mark.parametrize("change", ["pipelines/environments/new.yaml", "jobs/new.py", "new.py"])
def test_any_change_of_what_the_check_reads_is_seen_at_once(root: Path, counted: Counted, change: str) -> None:
    cache.load_checked(root)
    (root / change).write_text("", encoding="utf-8")
    _, found = cache.load_checked(root)
    assert counted.calls == 2
    assert len(found) == (2 if change.endswith("yaml") else 1), "an empty file is a problem"


def test_a_changed_value_of_an_environment_is_seen(
    root: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.load_checked(root)
    monkeypatch.setenv("STACK_KAFKA_PORT", "no port")
    cache.load_checked(root)
    assert counted.calls == 2
    monkeypatch.setenv("PIPELINE_ENVIRONMENT", "nowhere")
    assert "the environment that Airflow uses does not exist" in str(cache.load_checked(root)[1])


def errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def test_an_edit_that_no_other_file_sees_is_checked_alone(root: Path, counted: Counted) -> None:
    path = root / "pipelines/mart/tripclick_load_postgres.yaml"
    right = path.read_text(encoding="utf-8").replace("colour: red\n", "")
    path.write_text(right, encoding="utf-8")
    cache.load_checked(root)
    path.write_text(right.replace("in-full:", "in-ful:"), encoding="utf-8")
    project, found = cache.load_checked(root)
    assert counted.calls == 1
    assert errors(found) == errors(check(load_project(root)))
    assert [problem.path for problem in errors(found)] == ["tasks[1].arguments.in-ful"]
    assert project.pipeline("tripclick_load_postgres").tasks[1].arguments.keys() >= {"in-ful"}
    assert cache.load_checked(root)[1] == found
    assert (counted.calls, counted.again) == (1, [path.stem])


def _renames_a_param(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("until_caught_up", "until_done"), encoding="utf-8")


@pytest.mark.parametrize("change", [_renames_a_param, Path.unlink])
def test_an_edit_that_another_file_sees_is_checked_with_that_file(
    root: Path, counted: Counted, change: Callable[[Path], None]
) -> None:
    cache.load_checked(root)
    path = root / "pipelines/processing/tripclick_streaming_curated.yaml"
    change(path)
    _, found = cache.load_checked(root)
    assert (counted.calls, counted.again) == (1, ["tripclick_daily_pipeline", *[path.stem] * path.exists()])
    assert errors(found) == errors(check(load_project(root)))
    assert {Path(problem.file).stem for problem in found} >= {"tripclick_daily_pipeline"}


def test_a_variable_of_an_option_is_seen_by_who_passes_a_constant(root: Path, counted: Counted) -> None:
    batch, realtime = (root / f"pipelines/ingestion/tripclick_producer_{name}.yaml" for name in ("batch", "realtime"))
    given = 'ingestion-path: "{{ var.value.WEBSERVER_INGESTION_PATH }}"'
    for path, constant in ((batch, "logs"), (realtime, "/logs")):
        path.write_text(
            path.read_text(encoding="utf-8").replace(given, f"ingestion-path: {constant}"), encoding="utf-8"
        )
    cache.load_checked(root)
    shutil.copy(ROOT / realtime.relative_to(root), realtime)
    _, found = cache.load_checked(root)
    assert counted.again == [batch.stem, realtime.stem]
    assert "ingestion-path would be 'logs'" in " ".join(problem.message for problem in errors(found))
    assert errors(found) == errors(check(load_project(root)))


def test_what_is_remembered_has_its_places(root: Path) -> None:
    first, _ = cache.load_checked(root)
    second, _ = cache.load_checked(root)
    assert [file.places for file in second.pipeline_files] == [file.places for file in first.pipeline_files]


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
def test_a_cache_that_cannot_be_read_is_ignored(root: Path, counted: Counted, content: str) -> None:
    cache.load_checked(root)
    (root / MEMORY).write_text(content, encoding="utf-8")
    _, found = cache.load_checked(root)
    assert (counted.calls, len(found)) == (2, 1)


def test_where_nothing_can_be_written_it_checks_each_time(root: Path, counted: Counted) -> None:
    (root / "__pycache__").write_text("not a folder", encoding="utf-8")
    cache.load_checked(root)
    _, found = cache.load_checked(root)
    assert (counted.calls, len(found)) == (2, 1)
