"""docs/extending.md: each table of files is where the example stands, and what it says can be done as it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline_config.__main__ import main
from pipeline_config.project import ROOT

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
MIGRATION = "jobs/spark/sql/"
# The section, the example as it stands in code, and the folder in which it is looked for.
EXAMPLES = [
    ("A cold mart by day", r"\bPOPULAR_DOCUMENTS\b", "jobs"),
    ("A cold mart that is not by day", r"\bSESSION_ANALYSIS\b", "jobs"),
    ("A search mart by day", r"\bQUERY_CHANGE_DAYS\b", "jobs"),
    ("A hot mart", r"\bCLINICAL_TREND\b", "jobs"),
    ("An operator", r"\bBellOperator\b", "tests/bakery"),
    ("A type of connection", '"aws"', "pipeline_config"),
]


def section(heading: str) -> str:
    """What stands below a heading of the page."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("heading", "example", "folder"), EXAMPLES, ids=[heading for heading, *_ in EXAMPLES])
def test_the_files_are_those_that_have_the_example(heading: str, example: str, folder: str) -> None:
    text = section(heading)
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = {file for row in rows for file in re.findall(r"`([^`]+)`", row)}
    paths = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".yaml", ".json"}]
    there = {
        str(path.relative_to(ROOT))
        for path in paths
        if "generated" not in path.parts and re.search(example, path.read_text(encoding="utf-8"))
    }
    assert listed - {MIGRATION} == there
    assert text.lstrip().startswith(f"{len(listed)} files, like `{example.replace(chr(92) + 'b', '').strip(chr(34))}`")


def test_an_environment_is_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = copy(tmp_path)
    shown = section("An environment").partition("```yaml\n")[2].partition("```")[0]
    (root / "pipelines/environments/staging.yaml").write_text(shown, encoding="utf-8")
    assert main(["check", "--root", str(root)]) == 0
    capsys.readouterr()
    assert main(["render", "tripclick_producer_batch", "--environment", "staging", "--root", str(root)]) == 0
    assert "--kafka-brokers=staging1:9092" in capsys.readouterr().out


def test_a_topic_is_an_option_of_those_who_write_and_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy(tmp_path)
    brokers = re.compile(r"^( +)kafka-brokers: .*$", re.MULTILINE)
    files = [path for path in root.rglob("*.yaml") if brokers.search(path.read_text(encoding="utf-8"))]
    for path in sorted(files, key=lambda path: "producer" in path.name):
        path.write_text(brokers.sub(r"\g<0>\n\1topic: other", path.read_text(encoding="utf-8")), encoding="utf-8")
        assert main(["check", "--root", str(root)]) == 0
        is_written = "producer" in path.name
        assert ("reads what no task writes: topic other" in capsys.readouterr().out) is not is_written, path.name


def test_the_hooks_of_another_repository_are_those_that_there_are() -> None:
    shown = yaml.safe_load(section("Another repository").partition("```yaml\n")[2].partition("```")[0])
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for repo in shown["repos"] for hook in repo["hooks"]] == [hook["id"] for hook in hooks]


def test_airflow_parses_the_loader_of_another_repository_and_what_raises_its_errors() -> None:
    bakery = ROOT / "tests/bakery"
    _, *rules = (bakery / ".airflowignore").read_text(encoding="utf-8").splitlines()
    parsed = sorted(path.name for path in bakery.glob("*.py"))
    assert rules == ["*", *(f"!{name}" for name in reversed(parsed))]
    for name in parsed:
        assert {"airflow", "dag"} <= set(
            re.findall(r"airflow|dag", (bakery / name).read_text(encoding="utf-8").lower())
        )


def copy(folder: Path) -> Path:
    """A project with these pipelines."""
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    return folder
