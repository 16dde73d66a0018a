"""An accident in one file takes no other DAG away, and is one line that says what, where and what to do."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline_config import cache, parsers
from pipeline_config.__main__ import main
from pipeline_config.checks import check
from pipeline_config.guard import time_limit
from pipeline_config.project import ROOT, contents_of, importable, load_project
from tests.airflow_environment import airflow_environment

LOAD = "pipelines/mart/tripclick_load_postgres.yaml"
STREAM = "pipelines/processing/tripclick_streaming_curated.yaml"
MINUTES = '"{{ params.run_minutes }}"'
_BEFORE = (ROOT / STREAM).read_text(encoding="utf-8").partition(MINUTES)[0].splitlines()
MINUTES_AT = f"{STREAM}:{len(_BEFORE)}:{len(_BEFORE[-1]) + 1}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the project's files that people edit."""
    for name in ("pipelines", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "jobs").mkdir()
    return tmp_path


class Loaded(NamedTuple):
    """What Airflow gets of a project."""

    dags: list[str]
    problems: list[str]
    tracebacks: int


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Loaded]]:
    """Load a project's DAGs, in a process that has imported Airflow; its environment is production's."""
    settings = airflow_environment(tmp_path_factory.mktemp("airflow"), ROOT, "production")
    command = [sys.executable, "-W", "ignore", "-m", "tests.loads"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout

        def loaded(root: Path) -> Loaded:
            print(root, file=process.stdin, flush=True)
            return Loaded(**json.loads(process.stdout.readline()))  # type: ignore[union-attr]

        yield loaded
        process.stdin.close()


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def link(root: Path, file: str, target: str) -> None:
    (root / file).symlink_to(target)


def configmap(root: Path) -> None:
    """As Kubernetes mounts a ConfigMap: the files lie in a hidden folder, links to them beside it."""
    folder = root / "pipelines/mart"
    hidden = folder / "..2026_01_05"
    hidden.mkdir()
    (folder / "..data").symlink_to(hidden.name)
    for path in sorted(folder.glob("*.yaml")):
        path.rename(hidden / path.name)
        path.symlink_to(f"..data/{path.name}")


def hidden(root: Path, file: str, content: bytes) -> None:
    path = root / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def odd_name(root: Path) -> None:
    path = os.fsencode(root / "pipelines/mart") + b"/od\xffd\n.yaml"
    Path(os.fsdecode(path)).write_text("dag_id: odd\ndescription: x\nschedule: null\n", encoding="utf-8")


def closed(root: Path) -> None:
    os.mkfifo(root / "pipelines/mart/pipe.yaml")


def linked_folder(root: Path) -> None:
    """A link to a folder with a broken pipeline, in which a link leads back."""
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "again").symlink_to(root / "pipelines")
    (root / LOAD).rename(elsewhere / Path(LOAD).name)
    edit(root, f"elsewhere/{Path(LOAD).name}", "schedule: null\n", "")
    (root / "pipelines/weekly").symlink_to(elsewhere)


def no_function(root: Path) -> None:
    call = (
        "  - task_id: call\n"
        "    operator: airflow.providers.standard.operators.python.PythonOperator\n"
        "    advanced: {python_callable: builtins.nothing}\n"
        "    dependencies: [start]\n"
    )
    edit(root, LOAD, "  - task_id: end\n", f"{call}  - task_id: end\n")
    edit(root, LOAD, "[load_to_postgres]", "[load_to_postgres, call]")


LOAD_END = (ROOT / LOAD).read_text(encoding="utf-8").partition("- task_id: end")[0].count("\n") + 1
# What happens to the files; how many DAGs are left of the nine; the problem, or none.
ACCIDENTS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "Emacs' lock": (lambda root: link(root, "pipelines/mart/.#tripclick_load_postgres.yaml", "me@host.1:2"), 9, ""),
    "macOS' shadow": (lambda root: hidden(root, "pipelines/environments/._production.yaml", b"\0\5\x16\7"), 9, ""),
    "Jupyter's copy": (
        lambda root: hidden(root, "pipelines/mart/.ipynb_checkpoints/tripclick_load_postgres-checkpoint.yaml", b"x: 1"),
        9,
        "",
    ),
    "a ConfigMap": (configmap, 9, ""),
    "a folder": (
        lambda root: (root / "pipelines/mart/x.yaml").mkdir(),
        9,
        "pipelines/mart/x.yaml:1:1: cannot be read: it is a folder",
    ),
    "a folder elsewhere": (
        linked_folder,
        8,
        "pipelines/weekly/tripclick_load_postgres.yaml:2:1: key 'schedule' is missing",
    ),
    "a dangling link": (
        lambda root: link(root, "pipelines/mart/y.yaml", "nowhere"),
        9,
        "pipelines/mart/y.yaml:1:1: cannot be read: No such file or directory",
    ),
    "a pipe": (closed, 9, "pipelines/mart/pipe.yaml:1:1: cannot be read: it is not a regular file"),
    "an odd name": (odd_name, 9, r"pipelines/mart/od\udcffd\n.yaml:1:1: key 'tasks' is missing"),
    "another ending": (
        lambda root: hidden(root, "pipelines/mart/ninth.yml", b"dag_id: ninth\n"),
        9,
        "pipelines/mart/ninth.yml:1:1: is not read: its name does not end in .yaml (rename it to ninth.yaml)",
    ),
    "a child that is no YAML": (
        lambda root: edit(root, LOAD, "schedule: null", "schedule: [null"),
        8,
        f"{LOAD}:4:11: not YAML",
    ),
    "a file without end": (
        lambda root: hidden(root, "pipelines/mart/large.yaml", b"#" * 2_000_000),
        9,
        "pipelines/mart/large.yaml:1:1: is larger than 1,000,000 bytes",
    ),
    "another environment": (
        lambda root: edit(root, "pipelines/environments/local.yaml", "variables:", "variable:"),
        9,
        "pipelines/environments/local.yaml:4:1: unknown key 'variable'",
    ),
    "an environment that extends itself": (
        lambda root: edit(root, "pipelines/environments/local_without_docker.yaml", "extends: local", "extends: x"),
        9,
        "pipelines/environments/local_without_docker.yaml:3:10: no environment is called 'x'",
    ),
    "no environment": (
        lambda root: (root / "pipelines/environments/production.yaml").unlink(),
        0,
        "pipelines/environments/production.yaml:1:1: the environment that Airflow uses does not exist (set PIPELINE_",
    ),
    "a lake that is no longer on S3": (
        lambda root: edit(root, "pipelines/environments/production.yaml", "s3a://tripclick/", "/mnt/lake/"),
        9,
        "",
    ),
    "prose in the catalog": (
        lambda root: edit(root, "pipelines/catalog.yaml", "variables:", "# password: see the wiki page\nvariables:"),
        9,
        "",
    ),
    "a division by zero": (
        lambda root: edit(root, STREAM, MINUTES, '"{{ params.run_minutes // 0 }}"'),
        8,
        f"{MINUTES_AT}: Jinja: cannot be rendered: integer division or modulo by zero",
    ),
    "a number without end": (
        lambda root: edit(root, STREAM, MINUTES, '"{{ params.run_minutes ** (10 ** 10) }}"'),
        8,
        f"{MINUTES_AT}: Jinja: cannot be rendered: ** would make more than 1,000,000 characters or bits",
    ),
    "a loop without end": (
        lambda root: edit(
            root,
            STREAM,
            MINUTES,
            "\"{% for i in range(params.run_minutes * 999) %}{{ 'x' * 999 }}{% endfor %}\"",
        ),
        8,
        f"{MINUTES_AT}: Jinja: cannot be rendered: it becomes longer than 1,000,000 characters",
    ),
    "an argument of two pipelines' operator, misspelt in the environment": (
        lambda root: edit(root, "pipelines/environments/production.yaml", "      image:", "      imge:"),
        7,
        "pipelines/environments/production.yaml:33:7: DockerOperator has no argument 'imge' (did you mean 'image'?)",
    ),
    "a pool that one pipeline needs, misspelt in the catalog": (
        lambda root: edit(root, "pipelines/catalog.yaml", "  hot_tables_writer:", "  hot_tables_writr:"),
        8,
        "pool 'hot_tables_writer' is not in pipelines/catalog.yaml (did you mean 'hot_tables_writr'?)",
    ),
    "a catalog that breaks its schema": (
        lambda root: edit(
            root, "pipelines/catalog.yaml", "hot_tables_writer: {slots: 1,", "hot_tables_writer: {slots: x,"
        ),
        0,
        "pipelines/catalog.yaml:94:",
    ),
    "a function that is not there": (
        no_function,
        8,
        f"{LOAD}:{LOAD_END}:5: cannot be built: ",
    ),
}


def crashing(root: Path) -> str:
    """A pipeline with a job whose import crashes the process; returns its problem."""
    (root / "crashing").mkdir()
    (root / "crashing/__init__.py").touch()
    (root / "crashing/job.py").write_text("import os\n\nos.abort()\n", encoding="utf-8")
    command = 'crashing: {module: "crashing.{job}", argv: ["{arguments}"]}'
    edit(root, "pipelines/defaults.yaml", "commands:\n", f"commands:\n  {command}\n")
    text = "dag_id: crash\ndescription: x\nschedule: null\nconnections: [docker_server0]\n"
    text += "variables: [KAFKA_SECURITY_PATH, WEBSERVER_INGESTION_PATH]\ntasks:\n"
    text += "  - {task_id: a, operator: DockerOperator, connection: docker_server0, command: crashing, job: job}\n"
    (root / "pipelines/crash.yaml").write_text(text, encoding="utf-8")
    return "crashing/job crashes Python when it is imported: crashing/job.py:3: SIGABRT"


def test_after_a_job_that_crashed_the_loader_the_other_dags_are_loaded(
    root: Path, load: Callable[[Path], Loaded]
) -> None:
    said = crashing(root)
    if not (died := os.fork()):
        faulthandler.disable()
        importable(root)
        cache.load_checked(root)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(died, 0)[1]) == signal.SIGABRT
    dags, (problem,), tracebacks = load(root)
    assert said in problem
    assert (len(dags), tracebacks) == (9, 0)
    assert [path.name for path in (root / "__pycache__").iterdir()] == ["pipelines.json"]


def test_a_check_that_still_runs_is_not_taken_for_one_that_crashed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "__pycache__").mkdir()
    (root / "__pycache__/pipelines.checking").write_text(str(os.getppid()), encoding="ascii")
    monkeypatch.setattr(cache, "in_child_first", lambda: pytest.fail("each job is tried first, which takes longer"))
    cache.load_checked(root)


@pytest.mark.parametrize(("command", "code"), [("check", 1), ("graph", 2)])
def test_a_job_that_crashes_python_is_one_problem_of_its_dag(root: Path, command: str, code: int) -> None:
    said = crashing(root)
    edit(root, LOAD, "pool: cold", "pool: warm")
    words = [sys.executable, "-m", "pipeline_config", command, "--root", str(root)]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert (result.returncode, output.count(f"pipelines/crash.yaml:7:96: job 'job': {said}")) == (code, 1), output
    assert ("pool 'warm_tables_writer' is not in" in output) == (command == "check")


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_an_unexpected_error_removes_no_other_dag(root: Path, load: Callable[[Path], Loaded], accident: str) -> None:
    happens, left, problem = ACCIDENTS[accident]
    happens(root)
    first = load(root)
    assert len(first.dags) == left
    assert [problem in line for line in first.problems] == [True] * bool(problem), first.problems
    assert all("Traceback" not in line for line in first.problems)
    assert load(root) == first, "what is remembered is the same"


def test_a_class_misspelt_in_the_defaults_is_one_problem(root: Path, load: Callable[[Path], Loaded]) -> None:
    edit(root, "pipelines/defaults.yaml", "ssh.SSHOperator", "ssh.SSHOperater")
    dags, (problem,), tracebacks = load(root)
    assert "has no class 'SSHOperater'" in problem
    assert (0 < len(dags) < 9, tracebacks) == (True, 0)


def test_a_dag_with_a_name_of_the_loader_replaces_nothing_there(root: Path, load: Callable[[Path], Loaded]) -> None:
    (root / "loader.py").write_text((ROOT / "dag_factory_loader.py").read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("PROBLEMS", "__name__", "sixth"):
        text = f"dag_id: {name}\ndescription: x\nschedule: null\ntasks:\n  - {{task_id: a, operator: EmptyOperator}}\n"
        (root / f"pipelines/{name}.yaml").write_text(text, encoding="utf-8")
    dags, problems, _ = load(root)
    assert [name for name in dags if not name.startswith("tripclick_")] == ["DAG PROBLEMS", "DAG __name__", "sixth"]
    assert problems == []


def test_a_pipeline_that_triggers_a_broken_one_is_not_blamed(root: Path) -> None:
    edit(root, LOAD, "schedule: null", "schedule: [null")
    assert {problem.file for problem in check(load_project(root))} == {LOAD}


def test_an_edit_between_the_key_and_the_reading_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache keeps for a file's content was read from that content."""
    path = root / LOAD
    before = path.read_text(encoding="utf-8")
    load = load_project

    def editor_saves_now(*words: object, **options: object) -> object:
        path.write_text(before.replace("schedule: null", 'schedule: "* * * * *"'), encoding="utf-8")
        return load(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("pipeline_config.cache.load_project", editor_saves_now)
    cache.load_checked(root)
    monkeypatch.undo()
    path.write_text(before, encoding="utf-8")
    project, _ = cache.load_checked(root)
    assert project.pipeline("tripclick_load_postgres").schedule is None


def test_a_new_version_of_a_package_is_seen(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path_factory.mktemp("x") / "site-packages"
    (packages / "thing-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(packages))
    contents = contents_of(root)
    before = cache._key(root, contents)
    (packages / "thing-1.0.dist-info").rename(packages / "thing-1.1.dist-info")
    assert cache._key(root, contents) != before


def test_a_change_of_code_that_keeps_its_size_and_time_is_seen(root: Path) -> None:
    path, contents = root / "jobs/steady.py", contents_of(root)
    path.write_text("A = 1\n", encoding="utf-8")
    before, key = path.stat(), cache._key(root, contents)
    assert cache._key(root, contents) == key
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock has ticks
        path.write_text("A = 2\n", encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache._key(root, contents) != key


def test_the_cache_is_written_where_its_variable_says(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path_factory.mktemp("memory") / "of" / "pipelines"
    monkeypatch.setenv(cache.FOLDER, str(place))
    cache.load_checked(root)
    assert [path.name for path in place.iterdir()] == ["pipelines.json"]
    assert not (root / "__pycache__").exists()


def test_a_pipe_among_the_files_is_not_waited_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "odd_jobs").mkdir()
    monkeypatch.syspath_prepend(str(root))
    for file in ("pipelines/mart/pipe.yaml", "jobs/pipe.py", "odd_jobs/pipe.py"):
        os.mkfifo(root / file)
    with time_limit(20):
        assert parsers.jobs("odd_jobs.{job}") == {}
        assert main(["check", "--root", str(root)]) == 1
        cache.load_checked(root)
    assert capsys.readouterr().out == "pipelines/mart/pipe.yaml:1:1: cannot be read: it is not a regular file\n"


def test_a_folder_that_nobody_may_read_is_a_problem(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def closed(path: str) -> Any:
        if str(path).endswith("pipelines/mart"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)  # root reads everything
    assert "pipelines/mart:1:1: cannot be read: Permission denied" in map(str, load_project(root).problems)
