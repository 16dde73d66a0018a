"""What is wrong in a file: one record a problem, and how records are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong.

    `file` is relative to the project, `line` and `column` count from 1, `path` names the key (`tasks[1].job`), `hint`
    says what to do and may be empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


def as_text(problems: Iterable[Problem], root: Path) -> str:
    """Each problem as `file:line:col: message`, with the line of the file and a caret below it."""
    return "\n".join(f"{problem}{_excerpt(problem, root)}" for problem in problems)


def as_json(problems: Iterable[Problem]) -> str:
    """A JSON list of records with the fields of Problem."""
    return json.dumps([asdict(problem) for problem in problems], indent=2, ensure_ascii=False)


def as_github(problems: Iterable[Problem]) -> str:
    """Workflow commands that GitHub shows beside the line."""
    return "\n".join(
        f"::error file={p.file},line={p.line},col={p.column}::{_escaped(f'{p.message} {p.hint}'.strip())}"
        for p in problems
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _excerpt(problem: Problem, root: Path) -> str:
    try:
        lines = (root / problem.file).read_text(encoding="utf-8").splitlines()
        line = lines[problem.line - 1]
    except (OSError, UnicodeDecodeError, IndexError):
        return ""  # the message says that the file cannot be read
    number = f"{problem.line:5} | "
    return f"\n{number}{line}\n{' ' * (len(number) + problem.column - 1)}^"
