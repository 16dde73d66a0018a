"""Each case of tests/pipelines/invalid has its expected messages in the .txt beside it; the valid ones have none.

A case is a file, one more pipeline beside the nine, or a folder whose files are laid over pipelines/. A new case is a
new file or folder. `UPDATE_CASES=1 make test-fast` writes the messages down; read them before you commit them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline_config.checks import check
from pipeline_config.explain import _keys
from pipeline_config.project import ROOT, contents_of, load_project
from pipeline_config.reader import Content, Document, content_of, read
from pipeline_config.schema import schema_of

CASES = Path(__file__).parents[2] / "pipelines"
OURS = contents_of(ROOT)


def documents(contents: Mapping[str, Content]) -> dict[str, Document]:
    """These files, read."""
    project = load_project(contents=contents)
    return {document.file: document for document in project.files}


OURS_READ = documents(OURS)  # once: half the time of each case


def cases(kind: str) -> list[Path]:
    """Every case of tests/pipelines/`kind`."""
    return sorted(path for path in (CASES / kind).iterdir() if path.is_dir() or path.suffix == ".yaml")


def messages(case: Path) -> list[str]:
    """What the check says of the nine pipelines with `case` among them."""
    if case.is_dir():
        added = {f"pipelines/{path.relative_to(case).as_posix()}": path for path in case.rglob("*.yaml")}
    else:
        added = {f"pipelines/cases/{case.name}": case}
    contents = {file: content_of(path) for file, path in added.items()}
    read_now = {file: document for file, document in documents(contents).items() if file in added}
    together = dict(sorted({**OURS, **contents}.items()))
    found = check(load_project(contents=together, known={**OURS_READ, **read_now}))
    assert {problem.file for problem in found} <= added.keys(), "a case must not break the other files"
    return [str(problem).removeprefix("pipelines/").removeprefix("cases/") for problem in found]


@pytest.mark.parametrize("case", cases("invalid"), ids=lambda case: case.stem)
def test_invalid_file_gets_exactly_these_messages(case: Path) -> None:
    found = messages(case)
    expected = case.with_suffix(".txt")
    if os.environ.get("UPDATE_CASES"):
        expected.write_text("\n".join(found) + "\n", encoding="utf-8")
    assert found, "nothing was found"
    assert found == expected.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("case", cases("valid"), ids=lambda case: case.stem)
def test_valid_file_has_no_problem(case: Path) -> None:
    assert messages(case) == []


def test_the_notifiers_of_the_operations_page_fit_a_pipeline_that_names_them(tmp_path: Path) -> None:
    _, _, rest = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("```yaml\nnotifiers:")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    with (tmp_path / "pipelines/defaults.yaml").open("a", encoding="utf-8") as defaults:
        defaults.write("notifiers:" + rest.partition("```")[0])
    shutil.copy(CASES / "valid/alerts/cases/tells.yaml", tmp_path / "pipelines")
    assert check(load_project(tmp_path)) == []


def test_the_valid_cases_use_every_key_of_a_pipeline() -> None:
    documents = [read(path, CASES) for path in (CASES / "valid").rglob("*.yaml")]
    used = {key for document in documents for key in _keys_in(document.data)}
    keys = {path for path, *_ in _keys(schema_of("pipeline"), "", "pipeline") if not path.startswith("params.")}
    assert {key.rpartition(".")[2] for key in keys} - used == set()


def _keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys_in(item)


def test_there_are_at_least_80_invalid_cases() -> None:
    assert len(cases("invalid")) >= 80
