"""The workflow for GitHub is valid, and its commands check, plan and deploy in a clone, as on a runner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.settings import REPOSITORY
from tests.airflow_project import copy

WORKFLOW = REPOSITORY / ".github/workflows/deploy.yml"
FILE = "pipelines/orchestration/tripclick_daily_pipeline.yaml"
# What installs, or takes minutes: says what it was asked for.
STAND_INS = ("apt-get", "make", "python3")


def git(folder: Path, *arguments: str) -> str:
    """What git says to somebody."""
    person = ["-c", "user.name=Kim", "-c", "user.email=kim@example.org"]
    done = subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of what Airflow reads, whose `main` is at its origin, on a runner."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    for name in STAND_INS:
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*"\n', encoding="ascii")
        program.chmod(0o700)
    settings = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    git_settings = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GITHUB_WORKSPACE": str(tmp_path / "here")}
    for name, value in {**settings, **git_settings, "GITHUB_BASE_REF": "main"}.items():
        monkeypatch.setenv(name, value)
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "here")
    folder = copy(tmp_path / "here")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".gitignore").write_text(".venv\n__pycache__/\ngenerated/\n", encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "As it is")
    git(folder, "push", "--quiet", "origin", "HEAD:main")
    return folder


def run(job: str, event: str, folder: Path) -> tuple[int, str]:
    """The exit code of a job's commands, up to the first that fails, and what they said."""
    said = ""
    workflow: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["defaults"]["run"]["shell"] == "bash"
    for step in workflow["jobs"][job]["steps"]:
        if "run" not in step or f"github.event_name == '{event}'" not in step.get(
            "if", f"github.event_name == '{event}'"
        ):
            continue
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(bash, cwd=folder, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, said
    return 0, said


def edit(folder: Path, old: str, new: str) -> str:
    """The commit that replaces a text of the daily pipeline."""
    path = folder / FILE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    git(folder, "commit", "--all", "--quiet", "--message", new)
    return git(folder, "rev-parse", "HEAD")


def test_the_workflow_is_one_to_github() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_mistake_is_annotated_at_its_line_and_an_edit_is_planned_tested_and_deployed(here: Path) -> None:
    edit(here, "schedule:", "schedul:")
    code, said = run("check", "pull_request", here)
    assert code == 1
    assert f"::error file={FILE},line=4,col=1::" in said
    assert "test-fast" not in said

    edit(here, "schedul:", "schedule:")
    commit = edit(here, "0 15 * * *", "0 16 * * *")
    code, said = run("check", "pull_request", here)
    assert (code, said.splitlines()[-1]) == (0, "make test-fast"), said
    summary = Path(os.environ["GITHUB_STEP_SUMMARY"])
    assert '~ tripclick_daily_pipeline: schedule "0 15 * * *" → "0 16 * * *"' in summary.read_text(encoding="utf-8")

    summary.unlink()
    assert run("check", "push", here)[0] == 0
    assert not summary.exists(), "a push has no pull request to plan for"
    code, said = run("deploy", "push", here)
    assert code == 0, said
    assert git(here, "ls-remote", "origin", "deployed").startswith(commit)
