"""The pages: both READMEs say the same, every name they mention exists, and generated pages are fresh."""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pipeline_config.command_line import main, parser
from pipeline_config.explain import reference
from pipeline_config.project import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
MAX_README_LINES = 130
FENCE = "```"
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`]+)`")


@dataclass
class Section:
    """What both READMEs have in common between two headings: all but the words."""

    level: int
    blocks: list[str] = field(default_factory=list)  # without comments
    tables: list[int] = field(default_factory=list)  # cells per line; 0 for a line that is in no table
    links: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)


def sections(page: Path) -> Iterator[Section]:
    """The page's sections, in order."""
    section = Section(0)
    block: list[str] | None = None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith(FENCE):
            section.blocks += [] if block is None else ["\n".join(block)]
            block = [] if block is None else None
        elif block is not None:
            block.append(re.sub(r"\s+# .*", "", line))
        else:
            if line.startswith("#"):
                yield section
                section = Section(len(line) - len(line.lstrip("#")))
            words = LINK.sub("]", CODE.sub("", line))
            section.tables.append(line.count(" | ") if line.startswith("|") else 0)
            section.links.update(LINK.findall(line))
            section.code.update(CODE.findall(line))
            section.figures.update(re.findall(r"\d+(?:[.,]\d+)*", words))
    yield section


def test_both_readmes_have_the_same_structure_commands_links_and_figures() -> None:
    english, korean = (list(sections(page)) for page in READMES)
    for section in (english[1], korean[1]):  # each page's link to the other one
        del section.links["README.md"], section.links["README.ko.md"]
    assert korean == english


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readme_is_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_target_and_command_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:jobs|stack|pipeline_config|pipelines|schemas|tests|dashboards)/[\w./-]*)`", text)
    made_here = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()  # not there in a fresh clone
    assert [path for path in paths if path not in made_here and not (ROOT / path).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    commands = re.findall(r"python -m pipeline_config ([a-z][a-z-]*)", text)
    assert set(commands) <= all_commands()


def all_commands() -> set[str]:
    """The commands of `python -m pipeline_config`."""
    return set(re.findall(r"^    ([a-z-]+)(?: |$)", parser().format_help(), re.MULTILINE))


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readmes_table_has_every_command_and_every_dag(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    _, _, table = text.partition("python -m pipeline_config …`")
    assert set(re.findall(r"^\| `([a-z-]+)", table.partition("\n\n")[0], re.MULTILINE)) == all_commands()
    dags = set(re.findall(r"^\| `(tripclick_\w+)` \|", text, re.MULTILINE))
    assert dags == {path.stem for path in ROOT.glob("pipelines/*/tripclick_*.yaml")}


def test_the_readmes_mistake_is_reported_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = next(block for section in sections(READMES[0]) for block in section.blocks if ".yaml:" in block)
    file = shown.partition(":")[0]
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    broken = tmp_path / file
    broken.write_text(
        broken.read_text(encoding="utf-8").replace("      mart-path:", "      mart-pth:"), encoding="utf-8"
    )
    assert main(["check", "--root", str(tmp_path), "--format", "text", str(broken)]) == 1
    assert capsys.readouterr().out.strip().startswith(shown)


def test_the_configuration_reference_is_generated() -> None:
    page = ROOT / "docs/configuration.md"
    assert page.read_text(encoding="utf-8") == reference() + "\n", "run `make docs`"


def test_the_licence_is_named_where_people_and_tools_look() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert text.rstrip().endswith("limitations under the License.")
    assert all("[Apache-2.0](LICENSE)" in page.read_text(encoding="utf-8") for page in READMES)


# Of messages that others write: PostgreSQL, Kafka, Docker, the kernel.
FOREIGN = ("password authentication failed", "must be owner of table", "no space left on device", "Authentication")


def test_every_message_of_the_operations_page_is_one_of_the_programs() -> None:
    _, _, table = (
        (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("| message | what to do |\n|---|---|\n")
    )
    messages = [code for row in table.partition("\n\n")[0].splitlines() for code in CODE.findall(row.split(" | ")[0])]
    assert len(messages) > 30
    programs = [path for folder in ("jobs", "pipeline_config") for path in (ROOT / folder).rglob("*.py")]
    said = re.sub(
        r'"\n\s*f?"', "", "".join(path.read_text(encoding="utf-8") for path in programs)
    )  # a text's lines as one
    pieces = [piece.strip() for message in messages for piece in message.split("…")]
    assert [piece for piece in pieces if piece not in said and piece not in FOREIGN] == []


@pytest.mark.parametrize("page", [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_no_command_of_a_document_uses_a_folder_that_is_everybodys(page: Path) -> None:
    assert "/tmp/" not in page.read_text(encoding="utf-8")  # noqa: S108


@pytest.mark.parametrize("package", ["jobs/spark", "pipeline_config"])
def test_the_map_of_a_large_package_has_each_module_and_nothing_else(package: str) -> None:
    words = re.findall(r"[a-z_]+\*?", ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or "")
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert [name for name in modules if not any(fnmatch(name, word) for word in words)] == []
    named = [word for word in words if "_" in word]
    assert [word for word in named if not any(fnmatch(name, word) for name in modules)] == []


def test_the_scale_page_calculates_with_the_figures_of_the_performance_page() -> None:
    scale, performance = ((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("scale", "performance"))
    stages = scale.partition("| stage | measured |")[2].partition("\n\n")[0].splitlines()[2:]
    measured = [figure for row in stages for figure in re.findall(r"\b(\d+(?:\.\d+)?) s\b", row.split(" | ")[1])]
    known = [float(figure) for figure in re.findall(r"\d+\.\d+", performance.partition("## Figures")[2])]
    assert len(measured) > 8
    half = {figure: 0.5 / 10 ** len(figure.partition(".")[2]) + 1e-9 for figure in measured}  # of the last digit
    assert [one for one in measured if all(abs(float(one) - figure) > half[one] for figure in known)] == []
