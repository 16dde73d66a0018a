"""The commands of a DAG as they would run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline_config.__main__ import main
from pipeline_config.project import ROOT, load_project

GOLDEN = Path(__file__).parents[2] / "golden"
DAG_IDS = [pipeline.dag_id for pipeline in load_project().pipelines]


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


def test_every_golden_file_is_of_a_dag_that_exists() -> None:
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
    assert "the check finds 1 problem; fix them first" in capsys.readouterr().err
