"""Problems as text, JSON and GitHub's commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline_config.__main__ import main


def test_check_shows_place_line_and_caret(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken)]) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = "pipelines/mart/tripclick_load_postgres.yaml:4:1: unknown key 'schedul' (did you mean 'schedule'?)"
    at = lines.index(wrong)
    assert lines[at + 2 : at + 5] == ["    4 | schedul: null", "      | ^", "    5 | tags: [tripclick, mart]"]


@pytest.mark.parametrize(("no_color", "bold"), [("", True), ("1", False)])
def test_colour_is_only_for_terminals_and_no_color_turns_it_off(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_color: str, bold: bool
) -> None:
    assert main(["check", "--root", str(broken)]) == 1
    assert "\033" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert main(["check", "--root", str(broken)]) == 1
    assert ("\033[1m" in capsys.readouterr().out) is bold


def test_formats_for_programs(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken), "--format", "json"]) == 1
    record = next(r for r in json.loads(capsys.readouterr().out) if "unknown key" in r["message"])
    assert (record["line"], record["column"], record["path"]) == (4, 1, "schedul")
    assert main(["check", "--root", str(broken), "--format", "github"]) == 1
    assert "::error file=pipelines/mart/tripclick_load_postgres.yaml,line=4,col=1::" in capsys.readouterr().out


def test_a_long_value_is_cut_in_its_message(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", f"schedule: '{'7' * 5000}'"))
    assert main(["check", "--root", str(broken), "--format", "json"]) == 1
    assert len(capsys.readouterr().out) < 2000


def test_paths_for_github_count_from_the_repositorys_root(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(broken / "pipelines", broken / "etl/pipelines")
    (broken / ".git").mkdir()
    assert main(["check", "--root", str(broken / "etl"), "--format", "github"]) == 1
    assert "::error file=etl/pipelines/mart/tripclick_load_postgres.yaml," in capsys.readouterr().out
