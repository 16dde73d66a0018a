"""`make test` runs its parts to their end, shows what each says, and fails when one does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.settings import REPOSITORY

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


def make_test(project: Path, fails: str) -> subprocess.CompletedProcess[str]:
    """`make test` there, as if this one ran in no other."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "BESIDE"))}
    return subprocess.run(
        ["make", "test"], cwd=project, env={**outer, "FAILS": fails}, capture_output=True, text=True, check=False
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
    done = make_test(project, fails)
    assert done.returncode == code, done.stdout + done.stderr
    assert set(done.stdout.splitlines()) >= SAID


def test_a_wrong_format_is_reported_before_any_test_runs(project: Path) -> None:
    done = make_test(project, "ruff format --check --quiet .")
    assert done.returncode == 2
    assert "pytest" not in done.stdout
