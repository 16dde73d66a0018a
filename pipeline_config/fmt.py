"""`fmt`: keys in the schemas' order, two spaces of indentation, one kind of quotes; comments and meaning stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from pipeline_config.errors import CommandError
from pipeline_config.key_order import Keys
from pipeline_config.layout import Atom, Block, Entry, LayoutError, Reader
from pipeline_config.problem import Problem, line_and_column
from pipeline_config.reader import Document, parse
from pipeline_config.schema import schema_of
from pipeline_config.yaml_text import INDENT

SCHEMAS = {"pipelines/catalog.yaml": "catalog", "pipelines/defaults.yaml": "defaults"}
_INDICATOR = re.compile(r"[|>][+-]?[1-9]")


def run(root: Path, documents: list[Document], *, write: bool) -> tuple[list[str], bool]:
    """Format the files. A line for each file that was not formatted or cannot be; and whether any cannot be."""
    lines, failed = [], False
    for document in documents:
        try:
            text = formatted(document)
            if text != document.text and write:
                (root / document.file).write_text(text, encoding="utf-8", newline="\n")
        except (CommandError, OSError) as error:
            failed = True
            lines.append(f"{error}")
        else:
            if text != document.text:
                lines.append(f"{document.file}: {'formatted' if write else 'is not formatted: run `fmt`'}")
    return lines, failed


def formatted(document: Document) -> str:
    """The formatted text of a file. Raises CommandError if it cannot be read, or its meaning would change."""
    if document.problems:
        raise CommandError(str(document.problems[0]))
    schema = "environment" if "/environments/" in document.file else SCHEMAS.get(document.file, "pipeline")
    text = document.text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        head, top, end = Reader(text, Keys(schema_of(schema), schema)).whole()
    except LayoutError as error:
        raise _refusal(document, text, error) from None
    result = "\n".join(_tidy([*head, *_lines(top, 0), *end])) + "\n"
    if parse(Document(document.file), result.encode()).data != document.data:
        raise _refusal(document, text, _another_meaning(text))
    return result


def _refusal(document: Document, text: str, error: LayoutError) -> CommandError:
    place = line_and_column(text[: error.position])
    return CommandError(str(Problem(document.file, *place, "", f"cannot be formatted: {error.why}", error.hint)))


def _another_meaning(text: str) -> LayoutError:
    """Why a file would have another meaning, or none, with its keys in order."""
    events = yaml.parse(text, yaml.CSafeLoader)
    aliases = [event.start_mark for event in events if isinstance(event, yaml.AliasEvent) and event.start_mark]
    if not aliases:
        return LayoutError(0, "it would not mean the same", "write it more simply")
    hint = "write the value in both places"
    return LayoutError(aliases[0].index, "in order, this alias may precede its anchor", hint)


def _tidy(lines: list[str]) -> Iterator[str]:
    """No blank lines at the start or end, and no two in a row."""
    while lines and not lines[-1]:
        lines.pop()
    last = ""
    for line in lines:
        if line or last:
            yield line
        last = line


def _lines(block: Block, indent: int) -> Iterator[str]:
    for entry in block.entries:
        yield from _comments(entry.before, indent)
        yield from _entry(entry, indent)
    yield from _comments(block.after, indent)


def _comments(lines: list[str], indent: int) -> Iterator[str]:
    yield from (" " * indent + line if line else "" for line in lines)


def _entry(entry: Entry, indent: int) -> Iterator[str]:
    head = " " * indent + ("-" if entry.name is None else f"{entry.key}:")
    if isinstance(entry.value, Atom):
        first, *rest = _atom(entry, entry.value, indent, len(head) + 1)
        lines = [f"{head} {first}".rstrip(), *rest]
        place = 0 if entry.value.is_block else -1
        lines[place] += entry.gap + entry.comment
        yield from lines
    elif entry.name is not None or entry.properties:
        yield f"{head} {entry.properties}".rstrip() + entry.gap + entry.comment
        yield from _lines(entry.value, indent + INDENT)
    else:
        beside = entry.value.entries[0]  # of the dash, which comes below its comments
        yield from _comments(beside.before, indent)
        beside.before = []
        line, *lines = _lines(entry.value, indent + INDENT)
        yield f"{head} {line.lstrip()}"
        yield from lines


def _atom(entry: Entry, atom: Atom, indent: int, column: int) -> list[str]:
    """The lines of a value that begins in `column`; those below the first are moved as far as it is."""
    first, *rest = atom.text.split("\n")
    indents = [len(line) - len(line.lstrip(" ")) for line in rest if line.strip()]
    if atom.is_block:
        explicit = _INDICATOR.search(first)
        by = indent - entry.column if explicit else indent + INDENT - min(indents, default=0)
        least = 0
    else:
        by, least = column - atom.column, indent + INDENT
    moved = [first]
    for line in rest:
        text = line.lstrip(" ")
        floor = indent if text[:1] in ("]", "}") else least
        moved.append(" " * max(len(line) - len(text) + by, floor) + text if text.strip() else "")
    return moved
