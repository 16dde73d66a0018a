"""The framework without TripClick: installed from its wheel, in a repository of another domain (tests/bakery)."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from pipeline_config.connection_types import ACCEPTED, CONNECTION_TYPES
from pipeline_config.explain import reference
from pipeline_config.job_contract import KINDS
from pipeline_config.project import ROOT, load_project
from pipeline_config.schema import schema_of
from tests.airflow_process import AirflowProcess
from tests.programs import program

FRAMEWORK, BAKERY = ROOT / "pipeline_config", ROOT / "tests/bakery"
OLD = """
old:
  description: An older one
  schedule: "0 1 * * *"
  tasks:
    - {task_id: sweep, operator: airflow.providers.standard.operators.empty.EmptyOperator}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which `pip install` puts the framework, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "wheel", ROOT], check=True)
    (wheel,) = (folder / "wheel").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", folder / "lib", wheel], check=True)
    return folder / "lib"


@pytest.fixture
def bakery(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository, in whose shell the framework is installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("PATH", f"{installed}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.delenv("PIPELINE_ENVIRONMENT", raising=False)
    return shutil.copytree(BAKERY, tmp_path / "bakery", ignore=shutil.ignore_patterns("__pycache__", "generated"))


@pytest.fixture
def shelf() -> Iterator[int]:
    """The port of something that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def imported(text: str) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_framework_imports_nothing_of_the_project_and_does_not_know_its_name() -> None:
    for path in FRAMEWORK.rglob("*.*"):
        if path.suffix == ".pyc":
            continue
        text = path.read_text(encoding="utf-8")
        assert "tripclick" not in text.lower(), path
        if path.suffix == ".py":
            assert not {name.split(".")[0] for name in imported(text)} & {"jobs", "stack", "tests"}, path


def test_the_other_repository_has_no_line_of_tripclick() -> None:
    files = [path for path in BAKERY.rglob("*.*") if path.suffix in {".py", ".yaml"}]
    assert files
    assert not [path for path in files if "tripclick" in path.read_text(encoding="utf-8").lower()]


def test_what_explain_shows_names_nothing_of_this_project() -> None:
    project = load_project(ROOT)
    tasks = [task for pipeline in project.pipelines for task in pipeline.tasks]
    ours = {*(pipeline.dag_id for pipeline in project.pipelines), *project.catalog.pools, *project.catalog.connections}
    ours |= {name for task in tasks for name in (task.task_id, task.job) if name} - {"start", "end"}
    assert len(ours) > 20
    assert ours & set(re.findall(r"\w+", reference())) == set()


def test_each_type_of_connection_holds_data_of_a_kind_that_jobs_declare() -> None:
    assert {one.holds for one in CONNECTION_TYPES.values() if one.holds} <= set(KINDS)


def test_each_type_of_connection_is_in_the_schema() -> None:
    catalog = schema_of("catalog")["properties"]["connections"]["additionalProperties"]["properties"]
    assert catalog["type"]["enum"] == list(CONNECTION_TYPES)


def test_the_advice_for_sshd_covers_every_variable_by_which_a_connection_reaches_a_job() -> None:
    names = [name for one in CONNECTION_TYPES.values() for name in (*one.environment, *one.extra)]
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in ACCEPTED.split())] == []


def test_every_command_works_in_another_repository(
    bakery: Path, tmp_path: Path, shelf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELF_PORT", str(shelf))
    identity = ["-c", "user.name=baker", "-c", "user.email=baker@example.org"]
    for git in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "All"]):
        subprocess.run(["git", *git], cwd=bakery, check=True)
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    expected = {
        "check": (0, "2 pipelines, no problem"),
        "fmt --check": (0, "6 files, all formatted"),
        "render bread --environment laptop --param loaves=7": (0, "bake --orders-path=. --loaves=7"),
        "graph": (0, "dag_bread --> topic_bread"),
        "graph sales": (0, "task_start --> task_sell"),
        "explain retries": (0, "How often a failed task is retried."),
        "new job decorate": (0, "jobs/decorate.py: change it"),
        "new cakes --job decorate --folder daily": (0, "pipelines/daily/cakes.yaml: change it"),
        "new rolls --job bake --folder daily": (0, "pipelines/daily/rolls.yaml: change it"),
        f"migrate {tmp_path}/old.yaml": (0, "pipelines/old.yaml: written"),
        "check --format json": (0, "[]"),
        "plan": (2, "+ cakes: a new DAG, schedule none, tasks start, decorate, end"),
        "import-airflow --environment laptop --output imports": (0, "imports/connections.json"),
        "preflight --environment laptop": (1, "6 probes, 3 failed"),
    }
    text = json.dumps([shlex.split(command) for command in expected])
    driver = [sys.executable, "-c", program("runs_commands")]
    done = subprocess.run(driver, cwd=bakery, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = dict(zip(expected, json.loads(done.stdout), strict=True))
    for command, (code, words) in expected.items():
        assert answers[command][0] == code, (command, answers[command])
        assert words in answers[command][1], (command, answers[command])
    preflight = answers["preflight --environment laptop"][1]
    for line in (
        "ORDERS_PATH: ., ",
        f"SHELF_BROKERS: 127.0.0.1:{shelf} accepts connections",
        "till: open, for 1 tasks",
    ):
        assert f"s  {line}" in preflight
    assert "SHOP_PATH: not tried, since shop_ssh failed; fix shop_ssh first" in preflight
    work = yaml.safe_load((bakery / "pipelines/daily/rolls.yaml").read_text(encoding="utf-8"))["tasks"][1]
    assert {key: work[key] for key in ("operator", "command")} == {"operator": "Process", "command": "oven"}
    assert "connection" not in work
    assert (bakery / "schemas/generated/pipelines/cakes.schema.json").exists()


def test_the_hook_says_what_is_wrong_in_another_repository(bakery: Path) -> None:
    hooks = {
        hook["id"]: shlex.split(hook["entry"]) for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    }
    sales = bakery / "pipelines/daily/sales.yaml"
    sales.write_text(sales.read_text(encoding="utf-8").replace("shelf-brokers:", "shelf-broker:"), encoding="utf-8")
    done = subprocess.run(hooks["pipelines"], cwd=bakery, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "pipelines/daily/sales.yaml:17:7: sell has no option --shelf-broker (did you mean 'shelf-brokers'?)"
        in done.stdout
    )
    form = [*hooks["pipelines-fmt"], "--check", "pipelines/daily/sales.yaml"]
    assert subprocess.run(form, cwd=bakery, capture_output=True, check=False).returncode == 0


def test_a_loader_of_two_lines_has_the_dags_and_another_the_problems(
    bakery: Path, installed: Path, airflow: AirflowProcess
) -> None:
    sales = bakery / "pipelines/daily/sales.yaml"
    sales.write_text(sales.read_text(encoding="utf-8").replace("job: sell", "job: sel"), encoding="utf-8")
    environment = {"PIPELINE_ENVIRONMENT": "laptop", "PYTHONPATH": str(installed)}
    done = airflow.run(program("loads_the_bakery"), bakery, text=str(installed), env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("PipelineErrors")
    assert lines[1].startswith("pipelines/daily/sales.yaml:15:10: job 'sel': there is no jobs/sel.py")
    tasks = {"start": "EmptyOperator", "bake": "LocalProcessOperator", "ring": "BellOperator", "end": "EmptyOperator"}
    assert lines[2] == f"bread {tasks}"
    assert (bakery / "baked.txt").read_text(encoding="utf-8") == "2 loaves", "a job runs where its repository is"
    for name in ("bakery_loader.py", "bakery_errors.py"):
        text = (bakery / name).read_text(encoding="utf-8")
        assert len(text.split("\n\n")) == 3, "its docstring, an import, and a call"
        assert {"dag", "airflow"} <= set(re.findall(r"[a-z]+", text.lower().replace("dags", "dag"))), (
            "or it is not read"
        )
