"""`make test` runs its parts to their end, shows what each says, and fails when one does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.settings import REPOSITORY
from tests.production.test_production import LAST_GREEN
from tests.production.test_production import pytestmark as of_production

PROGRAMS = ("stack/install.sh", ".venv/bin/python", ".venv/bin/ruff", ".venv/bin/mypy")
# Says what it was asked to do, and fails when that is FAILS.
PROGRAM = '#!/bin/sh\necho "$0 $*"\ncase "$0 $*" in *"$FAILS") exit 1;; esac\n'
SAID = {
    "test-e2e | .venv/bin/python -m pytest tests/e2e",
    "test-lake | .venv/bin/python -m pytest tests/faults",
    "test-rest | .venv/bin/python -m pytest --ignore=tests/e2e --ignore=tests/faults",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile among programs that do nothing."""
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in PROGRAMS:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROGRAM, encoding="ascii")
        path.chmod(0o700)
    return tmp_path


def make(project: Path, fails: str, target: str = "test") -> subprocess.CompletedProcess[str]:
    """`make` there, as if this one ran in no other."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "BESIDE"))}
    return subprocess.run(
        ["make", target], cwd=project, env={**outer, "FAILS": fails}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        ("nothing", 0),
        ("pytest tests/e2e", 2),
        ("--ignore=tests/faults", 2),
        ("pytest tests/faults", 2),
        ("mypy ", 2),
        ("install-for-tests", 2),
    ],
)
def test_what_runs_side_by_side_runs_to_its_end_and_fails_the_whole(project: Path, fails: str, code: int) -> None:
    done = make(project, fails)
    assert done.returncode == code, done.stdout + done.stderr
    assert set(done.stdout.splitlines()) >= SAID


def test_a_wrong_format_is_reported_before_any_test_runs(project: Path) -> None:
    done = make(project, "ruff format --check --quiet .")
    assert done.returncode == 2
    assert "pytest" not in done.stdout


@pytest.mark.parametrize("target", ["validate", "plan", "preflight", "status", "down", "format"])
def test_before_make_install_a_target_says_what_is_missing(project: Path, target: str) -> None:
    shutil.rmtree(project / ".venv")
    done = make(project, "nothing", target)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the Python packages are not installed: run `make install` first\n")


def test_a_target_that_installs_uses_at_once_what_was_installed(project: Path) -> None:
    (project / ".venv").rename(project / "downloaded")
    (project / "stack/install.sh").write_text("#!/bin/sh\nmv downloaded .venv\n", encoding="ascii")
    done = make(project, "nothing", "lint")
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/python -m pipeline_config check" in done.stdout


def test_production_keeps_when_all_was_green_which_its_tests_tell_where_they_are_skipped(project: Path) -> None:
    kept = project / LAST_GREEN.relative_to(REPOSITORY)
    kept.parent.mkdir(parents=True)
    assert make(project, "pytest tests/production", "test-production").returncode == 2
    assert not kept.exists()
    assert make(project, "nothing", "test-production").returncode == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d, commit .*\n", kept.read_text(encoding="utf-8"))
    assert any(LAST_GREEN.read_text(encoding="ascii") in mark.kwargs["reason"] for mark in of_production[1:])
