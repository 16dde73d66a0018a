"""Each file of tests/pipelines/invalid has its expected messages in the .txt beside it; the valid ones have none.

A new case is a new file. `UPDATE_CASES=1 make test-fast` writes the messages down; read them before you
commit them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline_config.checks import check
from pipeline_config.project import ROOT, load_project

CASES = Path(__file__).parent.parent / "pipelines"


def messages(case: Path, root: Path) -> list[str]:
    """What the check says of `case` when it lies among the eight pipelines."""
    shutil.copytree(ROOT / "pipelines", root / "pipelines")
    target = root / "pipelines" / "cases" / case.name
    target.parent.mkdir()
    shutil.copy(case, target)
    found = check(load_project(root))
    assert {problem.file for problem in found} <= {f"pipelines/cases/{case.name}"}, "a case must not break the eight"
    return [str(problem).removeprefix("pipelines/cases/") for problem in found]


@pytest.mark.parametrize("case", sorted(CASES.glob("invalid/*.yaml")), ids=lambda case: case.stem)
def test_invalid_file_gets_exactly_these_messages(case: Path, tmp_path: Path) -> None:
    found = messages(case, tmp_path)
    expected = case.with_suffix(".txt")
    if os.environ.get("UPDATE_CASES"):
        expected.write_text("\n".join(found) + "\n", encoding="utf-8")
    assert found, "nothing was found"
    assert found == expected.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("case", sorted(CASES.glob("valid/*.yaml")), ids=lambda case: case.stem)
def test_valid_file_has_no_problem(case: Path, tmp_path: Path) -> None:
    assert messages(case, tmp_path) == []
