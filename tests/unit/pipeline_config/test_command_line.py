"""The commands: what they print, their exit codes, and what they refuse."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_config import cache
from pipeline_config.__main__ import main
from pipeline_config.project import ROOT


def test_check_prints_one_line_if_there_is_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "9 pipelines, no problem\n"


@pytest.mark.parametrize(
    ("called", "shown"), [("/venv/bin/pipelines", "pipelines"), ("/x/__main__.py", "python -m pipeline_config")]
)
def test_usage_and_advice_name_the_program_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], called: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.startswith(f"usage: {shown} ")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    assert main(["new", "tripclick_new", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"then `{shown} check`\n")


def test_one_file_is_counted_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = shutil.ignore_patterns("tripclick_[!l]*.yaml")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=others)
    path = tmp_path / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedule: null", "schedule: daily"))
    assert main(["check", "--root", str(tmp_path)]) == 1
    assert "cron 'daily' has 1 field (did you mean '@daily'?)" in capsys.readouterr().out
    path.write_text(path.read_text().replace("schedule: daily", "schedule: null"))
    assert main(["check", "--root", str(tmp_path)]) == 0
    assert "\n1 pipeline, no problem" in capsys.readouterr().out
    assert main(["fmt", "--root", str(tmp_path), str(path)]) == 0
    assert capsys.readouterr().out == "1 file, all formatted\n"


@pytest.mark.parametrize("command", ["check", "fmt", "graph", "plan"])
def test_a_folder_without_pipelines_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--root", str(tmp_path)]) == 2
    words = f"error: {tmp_path} has no pipelines/, nor has a folder around it: go there, or name it with --root\n"
    assert capsys.readouterr().err == words


def test_a_warning_is_shown_and_refuses_nothing(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", 'schedule: ["s3://tripclick/nowhere"]'))
    assert main(["check", "--root", str(broken)]) == 0
    out = capsys.readouterr().out
    assert ":4:12: warning: no task here updates asset s3://tripclick/nowhere" in out
    assert out.endswith("9 pipelines, no problem, warnings: 1\n")


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_a_password_in_an_address_is_an_error_and_not_printed(
    broken: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    path = broken / "pipelines/environments/local.yaml"
    text = re.sub("KAFKA_BROKERS: .*", "KAFKA_BROKERS: tripclick:S3cretPw9@kafka1:9092", path.read_text())
    path.write_text(text)
    assert main(["check", "--root", str(broken), "--format", form, str(path)]) == 1
    out = capsys.readouterr().out
    assert "this looks like a password in an address" in out
    assert "KAFKA_BROKERS: 'tripclick:***@kafka1:9092' is not valid for the type brokers" in out
    assert "S3cretPw9" not in out + " ".join(map(str, cache.load_checked(broken)[1]))


def test_check_of_another_file_does_not_show_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = broken / "pipelines/mart/tripclick_analytics_mart_etl.yaml"
    assert main(["check", "--root", str(broken), str(other)]) == 0
    assert "no problem" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "pipelines/nosuch.yaml"], "pipelines/nosuch.yaml: there is no such file"),
        (["check", "jobs"], "jobs: the check reads pipelines/**/*.yaml"),
        (["check", "README.md"], "README.md: the check reads pipelines/**/*.yaml"),
        (["new", "catalog"], "catalog.yaml: already exists"),
        (["new", "production", "--folder", "environments"], "--folder environments: it is for environments"),
        (["new", "x", "--folder", "../../elsewhere"], "--folder ../../elsewhere: it is outside of "),
        (["new", "x", "--folder", "catalog.yaml"], "catalog.yaml: already exists"),
        (["new", "x", "--folder", ".hidden"], "--folder .hidden: hidden folders are not read"),
        (
            ["new", "x", "--schedule", "61 * * * *"],
            "--schedule: cron '61 * * * *': '61' is not a valid minute (must be 0",
        ),
        (["new", "x", "--schedule", "nonsense"], "--schedule: cron 'nonsense' has 1 field (5: minute, hour, "),
        (["new", "x", "--schedule", "", "--job", "load_postgres"], "--schedule: cron '' has 0 fields"),
        (["new", "x.yaml", "--folder", "mart"], "'x.yaml': write the dag_id alone, without .yaml"),
        (["import-airflow", "--output", "README.md"], "README.md: cannot be written: File exists"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    root = tmp_path / "project"
    for name in ("pipelines", "jobs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("jars", "__pycache__"))
    (root / "README.md").write_text("mine", encoding="utf-8")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    monkeypatch.chdir(root)
    assert main([*arguments[:1], "--root", str(root), *arguments[1:]]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert said in err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_folder_means_the_files_in_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken), str(broken / "pipelines/mart")]) == 1
    assert "unknown key 'schedul'" in capsys.readouterr().out
    assert main(["check", "--root", str(broken), str(broken / "pipelines/ingestion")]) == 0


@pytest.mark.parametrize("redirect", ["| true", ">&-", "| cat"])
def test_a_reader_that_goes_away_and_an_ascii_terminal_make_no_traceback(broken: Path, redirect: str) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text("# →\nschedul: →\n" * 3, encoding="utf-8")
    command = f"{sys.executable} -m pipeline_config check --root {broken} {redirect}"
    result = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert ("\\u2192" in result.stdout) is (redirect == "| cat")
