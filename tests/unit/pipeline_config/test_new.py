"""New pipelines and new jobs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jobs.spark
from pipeline_config.__main__ import main
from pipeline_config.for_job import jobs_of
from pipeline_config.new import new
from pipeline_config.project import ROOT, load_project


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
        (["job"], "write `new DAG` for a pipeline, or `new job NAME` for a job"),
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


@pytest.mark.parametrize(
    ("dag_id", "words"), [("ten th", "cannot be a dag_id"), ("ninth", "DAG ninth already exists: pipelines/cases")]
)
def test_new_refuses_a_name_that_cannot_be(
    dag_id: str, words: str, ninth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", dag_id, "--root", str(ninth)]) == 2
    assert words in capsys.readouterr().err


def test_a_new_pipeline_needs_what_all_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "x", "--root", str(tmp_path)]) == 2
    missing = "pipelines/catalog.yaml, pipelines/defaults.yaml, pipelines/environments/production.yaml"
    assert capsys.readouterr().err == f"error: {tmp_path} has no {missing}: write what all pipelines share first\n"
    assert [*tmp_path.iterdir()] == []
