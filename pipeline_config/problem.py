"""What is wrong in a file: one record per problem, and how records are printed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

MAX_WIDTH = 200  # of a line of the file; nobody reads on
MAX_WORD = 100  # characters of a value in a message, without a blank
_LONG = re.compile(rf"\S{{{MAX_WORD + 2},}}")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong.

    `file` is relative to the project, `line` and `column` count from 1, `path` names the key (`tasks[1].job`), `hint`
    says what to do and may be empty. A warning is shown, but refuses nothing. Long values are cut in the message.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", _LONG.sub(lambda word: f"{word[0][:MAX_WORD]}…", self.message))

    def __str__(self) -> str:
        kind = "" if self.severity == "error" else f"{self.severity}: "
        text = f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"
        return f"{text} ({self.hint})" if self.hint else text


def plural(number: int, word: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def printable(text: str) -> str:
    """A file's name, safe for any terminal and database: what is not printable text is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def lines_of(text: str) -> list[str]:
    """The lines of a text as YAML counts them, each with its end; at least one."""
    return _LINE.findall(text) or [text]


_LINE = re.compile("[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])|[^\r\n\x85\u2028\u2029]+")


def line_and_column(before: str) -> tuple[int, int]:
    """Line and column, from 1, of the character that follows the text `before`."""
    lines = lines_of(f"{before}x")
    return len(lines), len(lines[-1])


def as_text(
    problems: Iterable[Problem], root: Path, masked: Callable[[str], str] = str, *, colour: bool = False
) -> str:
    """Each problem as `file:line:col: message`, with the lines of the file around it, `masked`, and a caret."""
    lines = cache(lambda file: _lines_of_file(root / file, masked))
    return "\n".join(f"{_bold(str(one), colour)}{_excerpt(one, lines(one.file))}" for one in problems)


def as_json(problems: Iterable[Problem]) -> str:
    """A JSON list of records with the fields of Problem."""
    return json.dumps([asdict(problem) for problem in problems], indent=2, ensure_ascii=False)


def as_github(problems: Iterable[Problem], root: Path) -> str:
    """Workflow commands that GitHub shows beside the line; paths are relative to the repository's root."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    below = root.relative_to(top)
    return "\n".join(
        f"::{found.severity} file={(below / found.file).as_posix()},line={found.line},col={found.column}::"
        f"{_escaped(f'{found.message} ({found.hint})' if found.hint else found.message)}"
        for found in problems
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _bold(text: str, colour: bool) -> str:
    return f"\033[1m{text}\033[0m" if colour else text


def _lines_of_file(path: Path, masked: Callable[[str], str]) -> list[str]:
    """None if the file cannot be shown; a pipe would be waited for."""
    try:
        return lines_of(masked(path.read_bytes().decode())) if path.is_file() else []
    except (OSError, UnicodeDecodeError):
        return []  # the message says that the file cannot be read


def _excerpt(problem: Problem, lines: list[str]) -> str:
    """The line before, the line and a caret below it, the line after."""
    if not lines:
        return ""
    shown = []
    for number in range(max(problem.line - 1, 1), min(problem.line + 1, len(lines)) + 1):
        line = lines[number - 1].replace("\t", " ").rstrip("\r\n\x85\u2028\u2029")
        if line or number == problem.line:
            shown.append(f"{number:5} | {_cut(line)}")
        if number == problem.line:
            shown.append(f"      | {' ' * _width(line[: problem.column - 1])}^")
    return "\n" + "\n".join(shown)


def _cut(line: str) -> str:
    return line if len(line) <= MAX_WIDTH else f"{line[: MAX_WIDTH - 1]}…"


def _width(text: str) -> int:
    """The width of `text` in a terminal: Korean letters take two columns."""
    return min(sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text), MAX_WIDTH)
