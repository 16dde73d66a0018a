"""The one reader of YAML: safe, keeps positions, refuses duplicate keys.

Hook, tests and loader all use it, since two readers would disagree on `on`, `yes` and dates: here `true` and `false`
are the only booleans and a date stays text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EISDIR
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipeline_config.problem import Problem, line_and_column, lines_of

KeyPath = tuple[str | int, ...]
Content = bytes | OSError  # of a file
MAX_BYTES = 1_000_000  # a pipeline of a thousand tasks has a fifth of it
MAX_NODES = 30_000  # a pipeline of a thousand tasks has half of it; far below what an alias bomb expands to
MOST_REFUSED = 100  # values of a file; nobody reads on
MAX_EXPRESSIONS = 3_000
MAX_DIGITS = 18  # of a number; what has more is text
MAX_DEPTH = 50  # an alias inside its own anchor has no end


class _Loader(yaml.CSafeLoader):
    """CSafeLoader that resolves null, true/false, decimal integers and floats only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the base class declares it so)


for _tag, _pattern, _first in (
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", rf"^[-+]?(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]{1,17}\.[0-9]{1,17}$", list("-+0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)

_SCALARS: dict[str, Any] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:str": str,
}
_TAGS = {*_SCALARS, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass
class Document:
    """A file as read: `data` is plain Python, `text` the file, `packed` its places as `pack` wrote them."""

    file: str
    text: str = ""
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    packed: str = ""

    @cached_property
    def places(self) -> dict[KeyPath, tuple[int, int, int, int]]:
        """Line and column of each key, and of its value, by path, in the file's order."""
        numbers = map(int, self.packed.split())
        return dict(zip(_paths(self.data, ()), zip(numbers, numbers, numbers, numbers, strict=True), strict=False))

    def pack(self) -> str:
        """The places as text, from which a document with the same data restores them."""
        return self.packed or " ".join(str(number) for place in self.places.values() for number in place)

    def problem(
        self, path: KeyPath, message: str, hint: str = "", *, at_value: bool = False, severity: str = "error"
    ) -> Problem:
        """A problem at the nearest known place of `path`: its key, or its value."""
        line, column = self._place(path, at_value=at_value)
        return Problem(self.file, line, column, dotted(path), message, hint, severity)

    def within(
        self, path: KeyPath, value: str, offset: int, message: str, hint: str = "", severity: str = "error"
    ) -> Problem:
        """A problem `offset` characters into the value of `path`, regardless of quotes or folding in the file."""
        line, column = self._place(path, at_value=True)
        word = _WORD.match(value, offset)
        if word:
            edge = r"\b" if word[0][0].isalnum() else ""
            same = re.compile(f"{edge}{re.escape(word[0])}{edge}")
            nth = sum(1 for _ in same.finditer(value, 0, offset))
            start = sum(len(text) for text in lines_of(self.text)[: line - 1]) + column - 1
            found = next(itertools.islice(same.finditer(self.text, start), nth, None), None)
            if found:
                line, column = line_and_column(self.text[: found.start()])
        return Problem(self.file, line, column, dotted(path), message, hint, severity)

    def _place(self, path: KeyPath, *, at_value: bool) -> tuple[int, int]:
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path, (1, 1, 1, 1))
        return place[2:] if at_value else place[:2]


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The path of each value inside `value`, in the reader's order."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(item, (*path, key))


def dotted(path: KeyPath) -> str:
    """`("tasks", 1, "job")` as `tasks[1].job`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read(path: Path, root: Path) -> Document:
    """Read one file; if anything is wrong with it, that is in `problems`, and `data` is None."""
    return parse(Document(path.relative_to(root).as_posix()), content_of(path))


def content_of(path: Path) -> Content:
    """A file's bytes, at most MAX_BYTES and one; or why it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            return IsADirectoryError(EISDIR, "it is a folder" if path.is_dir() else "it is not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        return error


def parse(document: Document, content: Content) -> Document:
    """Fill `document` from a file's content."""
    if isinstance(content, OSError):
        document.problems.append(document.problem((), f"cannot be read: {content.strerror}"))
        return document
    if len(content) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES:,} bytes"
        document.problems.append(document.problem((), message, "split it into several pipelines"))
        return document
    try:
        document.text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = line_and_column(error.object[: error.start].decode("utf-8"))
        document.problems.append(Problem(document.file, line, column, "", "is not UTF-8", "save the file as UTF-8"))
        return document
    if _expressions(document.text) > MAX_EXPRESSIONS:
        message = f"has more than {MAX_EXPRESSIONS:,} different Jinja expressions"
        document.problems.append(document.problem((), message, "split it into several pipelines"))
        return document
    try:
        _fill(document)
    except yaml.YAMLError as error:
        from pipeline_config.yaml_errors import what_is_wrong  # noqa: PLC0415 (expressions for broken files alone)

        document.problems.append(Problem(document.file, *what_is_wrong(document.text, error)))
    if document.problems:
        document.data = None
    return document


def _expressions(text: str) -> int:
    """How many different Jinja expressions, each of which takes time; not counted if there are only few."""
    return len(set(_EXPRESSION.findall(text))) if text.count("{{") + text.count("{%") > MAX_EXPRESSIONS else 0


_EXPRESSION = re.compile(r"\{[{%][^}]*")


_WORD = re.compile(r"\w+|\S")


def _refuse_deep(text: str) -> None:
    """libyaml builds nested values by recursion in C, which can crash the process: deep ones are counted first."""
    if text.count("[") + text.count("{") <= SAFE_DEPTH and not _LONG_INDENT.search(text):
        return
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark: Any = event.start_mark  # libyaml has a class of its own
            raise yaml.MarkedYAMLError(problem=f"deeper than {MAX_DEPTH} levels", problem_mark=mark)


SAFE_DEPTH = 1000  # for any thread's stack
_LONG_INDENT = re.compile(rf"[ \t?:-]{{{SAFE_DEPTH}}}")


def _fill(document: Document) -> None:
    _refuse_deep(document.text)
    loader = _Loader(document.text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        wrong = "must be a mapping of keys to values at the top" if node else "is empty"
        if node:
            document.places[()] = (*_place(node), *_place(node))
        document.problems.append(document.problem((), wrong, "`python -m pipeline_config explain` lists its keys"))
        return
    document.data = _Builder(document).build(node, ())


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Builder:
    """Turns nodes into plain values and records their places."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, key: yaml.Node | None = None) -> Any:
        """The value of a node, which has a key or is a list item."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"more than {MAX_NODES} values" if self.nodes > MAX_NODES else f"deeper than {MAX_DEPTH} levels"
            raise yaml.MarkedYAMLError(
                problem=f"{limit}; does an alias expand without end?", problem_mark=node.start_mark
            )
        self.document.places[path] = (*_place(key or node), *_place(node))
        if node.tag not in _TAGS:
            self._refuse(path, f"tag {node.tag} is not allowed", "use plain values")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return _SCALARS[node.tag](node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.MappingNode):
                self._refuse(path, "YAML reads {{ … }} as a mapping", "put it in quotes", at_value=True)
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.value)
            here = (*path, key)
            if key in result:
                first = self.document.places[here][0]
                self.document.places[here] = (*_place(key_node), *_place(value_node))
                hint = f"the first is on line {first}"
                if path and isinstance(path[-1], int) and key == next(iter(result)):
                    hint += f"; write `- {key}` for the next item"
                self._refuse(here, f"key {key!r} is duplicated", hint)
                continue
            result[key] = self.build(value_node, here, key_node)
        return result

    def _refuse(self, path: KeyPath, message: str, hint: str, *, at_value: bool = False) -> None:
        if len(self.document.problems) < MOST_REFUSED:
            self.document.problems.append(self.document.problem(path, message, hint, at_value=at_value))
