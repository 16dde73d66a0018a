"""The commands that people type beside the check: render, explain, new."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jobs.spark
from jobs import arguments
from pipeline_config import parsers
from pipeline_config.__main__ import main
from pipeline_config.explain import _keys
from pipeline_config.for_job import jobs_of
from pipeline_config.new import new
from pipeline_config.project import ROOT, load_project
from pipeline_config.schema import schema_of, validator

GOLDEN = Path(__file__).parents[2] / "golden"
DAG_IDS = [pipeline.dag_id for pipeline in load_project().pipelines]


@pytest.fixture
def ninth(tmp_path: Path) -> Path:
    """The nine pipelines with the valid case that uses the rest of the dialect."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    shutil.copytree(ROOT / "tests/pipelines/valid/ninth", tmp_path / "pipelines", dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack's ports in this shell would stand in the commands of `local`."""
    for name in [name for name in os.environ if name.startswith("STACK_")]:
        monkeypatch.delenv(name)


def rendered(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `render` prints."""
    assert main(["render", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("dag_id", DAG_IDS)
@pytest.mark.parametrize("environment", ["production", "local"])
def test_rendered_commands_are_those_of_the_golden_file(
    dag_id: str, environment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = rendered(capsys, dag_id, "--environment", environment)
    path = GOLDEN / environment / f"{dag_id}.txt"
    if os.environ.get("UPDATE_CASES"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(out, encoding="utf-8")
    assert out == path.read_text(encoding="utf-8")


def test_there_is_no_golden_file_of_a_dag_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*/tripclick_*.txt")} == set(DAG_IDS)


def test_params_are_read_as_their_type_and_quoted_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    out = rendered(capsys, "tripclick_streaming_curated", "--param", "run_minutes=5")
    assert "--run-minutes=5 " in out
    out = rendered(capsys, "tripclick_producer_batch", "--param", "first_date=2020-10-02")
    assert "--first-date=2020-10-02 " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tripclick_streaming_curate"], "did you mean 'tripclick_streaming_curated'?"),
        (["tripclick_streaming_curated", "--param", "run_minute=5"], "did you mean 'run_minutes'?"),
        (["tripclick_streaming_curated", "--param", "run_minutes=soon"], "param run_minutes refuses 'soon'"),
        (["tripclick_streaming_curated", "--param", "run_minutes"], "write it as NAME=VALUE"),
        (["tripclick_streaming_curated", "--environment", "prod"], "there is: local, local_without_docker, production"),
    ],
)
def test_render_says_what_is_wrong_with_the_command(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_render_masks_what_is_called_a_secret(ninth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ninth.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8").replace("KAFKA_BROKERS", "KAFKA_TOKEN_BROKERS")
        path.write_text(text.replace("type: brokers", "type: text"), encoding="utf-8")
    out = rendered(capsys, "tripclick_producer_batch", "--root", str(ninth), "--environment", "production")
    assert "--kafka-brokers=***" in out.replace("'", "")
    assert "kafka1" not in out


def test_render_shows_each_instance_of_a_mapped_task_and_the_arguments_of_a_class(
    ninth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = rendered(capsys, "ninth", "--root", str(ninth), "--environment", "production", "--param", "name=Ada")
    assert out.count("batch --kafka-brokers=kafka1:9092") == 2
    assert "--first-date=2020-10-01\n" in out
    assert "--first-date=2020-10-02" in out
    assert "env: {NAME: Ada, SIZE: small}" in out
    assert "for each op_args: words.list_words.output" in out


def test_render_shows_a_conf_as_the_triggered_dag_gets_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    shutil.copytree(ROOT / "tests/pipelines/valid/conf", tmp_path / "pipelines", dirs_exist_ok=True)
    assert main(["render", "hands_on", "--root", str(tmp_path), "--param", "in_full=false"]) == 0
    out = capsys.readouterr().out
    assert "conf: {max_shrink_factor: 3.0, in_full: false}" in out
    assert "days: ['2020-10-01'], first: null, name: '12', said: the \"12\" of 2024-01-02" in out


def test_render_waits_until_the_files_are_right(ninth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ninth / "pipelines/cases/ninth.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("schedule:", "schedul:"), encoding="utf-8")
    assert main(["render", "ninth", "--root", str(ninth)]) == 2
    assert "the check finds 2 problems; fix them first" in capsys.readouterr().err


def test_explain_shows_every_key_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "for_each"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tasks.for_each  (in a pipeline)\n  Maps the task")
    assert "a mapping" in out
    assert "    for_each:\n      first-date:" in out
    assert main(["explain", "retries"]) == 0
    assert capsys.readouterr().out.count("retries  (in ") == 4


@pytest.mark.parametrize("file", ["pipeline", "catalog", "defaults", "environment"])
def test_every_key_of_every_schema_has_a_description_and_an_example(file: str) -> None:
    keys = {path: key for path, key, _ in _keys(schema_of(file), "", file)}
    assert len(keys) > 5
    assert [path for path, key in keys.items() if not key.get("description") or not key.get("examples")] == []


@pytest.mark.parametrize("file", ["pipeline", "catalog", "defaults", "environment"])
def test_every_example_of_a_key_passes_the_keys_own_schema(file: str) -> None:
    for path, key, _ in _keys(schema_of(file), "", file):
        own = validator(file).evolve(schema=key)
        assert [error.message for example in key["examples"] for error in own.iter_errors(example)] == [], path


def test_explain_of_an_unknown_key_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "retrys"]) == 2
    assert "did you mean 'retries'?" in capsys.readouterr().err


def test_a_new_pipeline_passes_the_check(ninth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "tripclick_tenth", "--folder", "mart/daily", "--root", str(ninth)]) == 0
    path = ninth / "pipelines/mart/daily/tripclick_tenth.yaml"
    assert str(path) in capsys.readouterr().out
    schema = path.read_text(encoding="utf-8").splitlines()[0].split("$schema=")[1]
    assert (path.parent / schema).resolve() == (
        ninth / "schemas/generated/pipelines/tripclick_tenth.schema.json"
    ).resolve()
    assert main(["check", "--root", str(ninth)]) == 0
    assert "12 pipelines, no problem" in capsys.readouterr().out


def test_a_new_pipeline_for_each_job_passes_the_check_without_a_warning(
    ninth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = load_project(ninth)
    known = jobs_of(project)
    assert {"archive_raw", "load_postgres", "batch", "realtime"} <= known.keys()
    for job in known:
        new(project, f"nightly_{job}", "nightly", "0 18 * * *", job)
    assert main(["check", "--root", str(ninth)]) == 0
    assert capsys.readouterr().out == f"{11 + len(known)} pipelines, no problem\n"
    assert main(["fmt", "--check", "--root", str(ninth), str(ninth / "pipelines/nightly")]) == 0


def test_a_new_pipeline_has_what_its_job_and_the_other_pipelines_say(ninth: Path) -> None:
    assert main(["new", "nightly", "--job", "load_postgres", "--schedule", "0 18 * * *", "--root", str(ninth)]) == 0
    nightly = load_project(ninth).pipeline("nightly").place.document.data
    model = load_project().pipeline("tripclick_load_postgres").place.document.data
    assert nightly["schedule"] == "0 18 * * *"
    assert {key: nightly[key] for key in ("variables", "connections")} == {
        key: model[key] for key in ("variables", "connections")
    }
    assert nightly["tasks"][1] == {**model["tasks"][1], "task_id": "load_postgres"}
    assert nightly["params"]["max_shrink_factor"] == {
        "type": "number",
        "minimum": 1,
        "default": 1.25,
        "description": "Refuse a table with fewer rows than PostgreSQL has, divided by this",
    }


@pytest.mark.parametrize(("needs", "offered"), [("--place", False), ("", True)])
def test_a_new_pipeline_offers_no_choice_whose_options_it_does_not_give(
    ninth: Path, monkeypatch: pytest.MonkeyPatch, needs: str, offered: bool
) -> None:
    code = "import argparse\ndef parser():\n    own = argparse.ArgumentParser()\n"
    code += "    own.add_argument('--action', choices=['count', 'remove'], default='count')\n"
    code += f"    own.add_argument({needs!r}, nargs='+', default=[])\n" * bool(needs) + "    return own\n"
    name = f"chooses_{offered}".lower()
    (ninth / "chosen").mkdir()
    (ninth / "chosen" / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(jobs.spark, "__path__", [*jobs.spark.__path__, str(ninth / "chosen")])
    assert main(["new", name, "--job", name, "--root", str(ninth)]) == 0
    made = load_project(ninth).pipeline(name)
    assert ("action" in made.tasks[1].arguments, "action" in made.params) == (offered, offered)
    assert main(["check", "--root", str(ninth)]) == 0


def test_a_new_job_and_a_pipeline_for_it_pass_the_checks(
    ninth: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (ninth / "jobs/spark").mkdir(parents=True)
    shutil.copy(ROOT / "jobs/spark/new_job.template", ninth / "jobs/spark")
    assert main(["new", "job", "count_clicks", "--root", str(ninth)]) == 0
    assert "new DAG --job count_clicks`" in capsys.readouterr().out
    job = ninth / "jobs/spark/count_clicks.py"
    for command in (["format", "--check"], ["check"]):
        subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "--quiet", "--config", ROOT / "pyproject.toml", job],
            check=True,
        )
    monkeypatch.setattr(jobs.spark, "__path__", [*jobs.spark.__path__, str(job.parent)])
    assert main(["new", "counts", "--job", "count_clicks", "--root", str(ninth)]) == 0
    assert main(["check", "--root", str(ninth)]) == 0
    counts = load_project(ninth).pipeline("counts")
    assert counts.tasks[1].arguments == {"curated-path": "{{ var.value.S3_CURATED_STREAM_PATH }}"}
    assert main(["new", "job", "count_clicks", "--root", str(ninth)]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dag", "--job", "load_postgre"], "there is no job 'load_postgre'; did you mean 'load_postgres'?"),
        (["jop", "count_clicks"], "write `new DAG` for a pipeline, or `new job NAME` for a job"),
        (["job", "count_clicks", "--folder", "mart"], "write `new DAG` for a pipeline"),
        (["job", "Count"], "'Count' cannot be a job's name"),
        (["job", "class"], "'class' cannot be a job's name"),
    ],
)
def test_new_says_what_is_wrong_with_a_job(
    arguments: list[str], words: str, ninth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments, "--root", str(ninth)]) == 2
    assert words in capsys.readouterr().err


def option(**settings: Any) -> argparse.ArgumentParser:
    """A parser with the option --x."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", **settings)
    return parser


@pytest.mark.parametrize(
    ("settings", "schema"),
    [
        ({}, {"type": "string"}),
        ({"type": Path}, {"type": "string"}),
        ({"choices": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": arguments.day}, {"type": "string", "format": "date"}),
        ({"type": arguments.true_or_false}, {"type": "boolean"}),
        ({"type": int}, {"type": "integer"}),
        ({"type": arguments.positive_int}, {"type": "integer", "minimum": 1}),
        ({"type": float}, {"type": "number"}),
        ({"type": arguments.positive_float}, {"type": "number", "exclusiveMinimum": 0}),
        ({"type": arguments.share}, {"type": "number", "minimum": 0, "maximum": 1}),
        ({"type": lambda text: range(8)[int(text)]}, {"type": "integer", "maximum": 7}),
    ],
)
def test_what_an_option_takes_is_found_by_asking_it(settings: dict[str, Any], schema: dict[str, Any]) -> None:
    assert parsers.values(option(**settings), "x") == schema


@pytest.mark.parametrize(
    ("dag_id", "words"), [("ten th", "cannot be a dag_id"), ("ninth", "DAG ninth already exists: pipelines/cases")]
)
def test_new_refuses_a_name_that_cannot_be(
    dag_id: str, words: str, ninth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", dag_id, "--root", str(ninth)]) == 2
    assert words in capsys.readouterr().err
