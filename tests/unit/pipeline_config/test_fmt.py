"""`fmt`: one form for the YAML files, in which nothing is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random

import pytest
import yaml

from pipeline_config.__main__ import main
from pipeline_config.errors import CommandError
from pipeline_config.fmt import formatted
from pipeline_config.project import ROOT, load_project
from pipeline_config.reader import Document, parse
from tests.mutations.mutate import KINDS, Source, mutant

PIPELINES = [Source(document.text) for document in load_project(with_schema=False).pipeline_files]
ODD = """\
# yaml-language-server: $schema=x
# about the file

# of tasks
tasks:    # beside tasks
- # before the first
    # task
    operator: 'EmptyOperator'
    # of its id
    task_id: "start"   # beside its id
    # pool: x

-
    dependencies: [ 'start' , "a'b",
       # inside
       'c\\d']
    arguments:
      x: |2
           two more
      y: >-
            folded

            text
      # last of the arguments
    # of operator
    operator: SSHOperator
    advanced: &all
      c: 1
    task_id: x


  # of the second task
- {operator: EmptyOperator, task_id: end}
params:
    p: {description: "it's", default: 'x', type: "string",
        pattern: 'a'}
    q: {description: a, # of description
        type: string}
description: 'said "no"'
dag_id: odd
# the end
  # really
"""
EVEN = """\
# yaml-language-server: $schema=x
# about the file

dag_id: odd
description: 'said "no"'
params:
  p: {type: "string", pattern: "a", default: "x",
      description: "it's"}
  q: {description: a, # of description
      type: string}
# of tasks
tasks:    # beside tasks
  # before the first
  # task
  # of its id
  - task_id: "start"   # beside its id
    operator: "EmptyOperator"
    # pool: x

  - task_id: x
    # of operator
    operator: SSHOperator
    arguments:
      x: |2
           two more
      y: >-
        folded

        text
      # last of the arguments
    advanced: &all
      c: 1
    dependencies: [ "start" , "a'b",
       # inside
       'c\\d']

    # of the second task
  - {task_id: end, operator: EmptyOperator}
# the end
# really
"""


def read(content: str | bytes, file: str = "pipelines/odd.yaml") -> Document:
    """A file with that content."""
    return parse(Document(file), content.encode() if isinstance(content, str) else content)


def comments(text: str) -> list[str]:
    """The comments of a file, by the tokens of PyYAML's own scanner."""
    found, position = [], 0
    for token in yaml.scan(text, yaml.SafeLoader):
        found += re.findall(r"(?:^|(?<=\s))#[^\n]*", text[position : token.start_mark.index])
        position = max(position, token.end_mark.index)
    return sorted(comment.strip() for comment in found)


def test_keys_indentation_and_quotes_have_one_form_and_comments_stay_where_they_belong() -> None:
    assert formatted(read(ODD)) == EVEN
    assert formatted(read(EVEN)) == EVEN
    assert formatted(read("\ufeff" + ODD.replace("\n", "\r\n"))) == EVEN


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_means_the_same_keeps_its_comments_and_stays_as_it_is_then(kind: str) -> None:
    random = Random(6)  # noqa: S311 (to be repeated, not to be secret)
    seen = 0
    while seen < 12:
        document = read(mutant(random.choice(PIPELINES), kind, random))
        if not document.problems:
            text = formatted(document)
            again = read(text)
            assert again.data == document.data
            assert formatted(again) == text
            assert comments(text) == comments(document.text)
            seen += 1


def test_the_files_are_in_their_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check"]) == 0, capsys.readouterr().out


def test_fmt_writes_what_has_another_form_and_leaves_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    odd, broken = (tmp_path / "pipelines" / name for name in ("odd.yaml", "broken.yaml"))
    odd.write_text(ODD, encoding="utf-8")
    broken.write_text("dag_id: 'x\n", encoding="utf-8")
    root = ["--root", str(tmp_path)]
    assert main(["fmt", "--check", str(odd), *root]) == 1
    assert "pipelines/odd.yaml: is not formatted" in capsys.readouterr().out
    assert odd.read_text(encoding="utf-8") == ODD
    assert main(["fmt", str(odd), *root]) == 0
    assert odd.read_text(encoding="utf-8") == EVEN
    assert main(["fmt", "--check", str(odd), *root]) == 0
    capsys.readouterr()
    assert main(["fmt", *root]) == 1
    assert capsys.readouterr().out.startswith("pipelines/broken.yaml:1:9: not YAML")
    assert broken.read_text(encoding="utf-8") == "dag_id: 'x\n"


@pytest.mark.parametrize(
    ("text", "why"),
    {
        "%YAML 1.1\n---\ndag_id: x\n": "1:1: cannot be formatted: %YAML is neither a key, a value nor a comment",
        "dag_id: x  # ...\n...\n": "2:1: cannot be formatted: ... is neither a key, a value nor a comment",
        "# all\n{dag_id: x}\n": "2:1: cannot be formatted: the whole file is one mapping in braces",
        "params: &p {}\ndag_id: x\ntask_groups: *p\ndeadline: *p\n": (
            "3:14: cannot be formatted: in order, this alias may precede its anchor"
        ),
    }.items(),
)
def test_a_file_that_cannot_be_formatted_is_left_alone_and_says_why_and_where(text: str, why: str) -> None:
    with pytest.raises(CommandError, match=f"^pipelines/odd.yaml:{re.escape(why)}"):
        formatted(read(text))
