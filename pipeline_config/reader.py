"""The one reader of YAML: safe, keeps positions, refuses duplicate keys.

Hook, tests and loader all read with it, since two readers disagree on `on`, `yes` and dates: here `true` and `false`
are the only booleans and a date stays text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline_config.problem import Problem

KeyPath = tuple[str | int, ...]
MAX_NODES = 100_000  # far above any pipeline, far below what an alias bomb unfolds to


class _Loader(yaml.CSafeLoader):
    """CSafeLoader that resolves null, true/false, decimal integers and floats only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (the base class declares it so)


for _tag, _pattern, _first in (
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+\.[0-9]+(?:e[-+]?[0-9]+)?$", list("-+0123456789")),
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
    """A file as read: `data` is plain Python, `text` the file, `positions` has (line, column) by path of keys."""

    file: str
    text: str = ""
    data: Any = None
    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    values: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(
        self, path: KeyPath, message: str, hint: str = "", *, at_value: bool = False, offset: int = 0
    ) -> Problem:
        """A problem at the nearest known place of `path`; `offset` characters into a one-line value."""
        where = self.values if at_value else self.positions
        known = path
        while known and known not in where:
            known = known[:-1]
        line, column = where.get(known, (1, 1))
        return Problem(self.file, line, column + offset, dotted(path), message, hint)


def dotted(path: KeyPath) -> str:
    """`("tasks", 1, "job")` as `tasks[1].job`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read(path: Path, root: Path) -> Document:
    """Read one file; whatever is wrong with it stands in `problems` and `data` is None then."""
    document = Document(path.relative_to(root).as_posix())
    try:
        document.text = path.read_bytes().decode("utf-8")
    except OSError as error:
        document.problems.append(document.problem((), f"cannot be read: {error.strerror}"))
        return document
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        document.problems.append(Problem(document.file, line, 1, "", "is not UTF-8", "save the file as UTF-8"))
        return document
    try:
        _fill(document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = f"not YAML: {error.problem or error.context}"
        document.problems.append(Problem(document.file, line, column, "", message))
    except yaml.YAMLError as error:
        document.problems.append(document.problem((), f"not YAML: {' '.join(str(error).split())}"))
    if document.problems:
        document.data = None
    return document


def _fill(document: Document) -> None:
    loader = _Loader(document.text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        document.problems.append(document.problem((), "must be a mapping of keys to values at the top"))
        return
    document.data = _Builder(document).build(node, ())


class _Builder:
    """Turns nodes into plain values and notes where each stands."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.YAMLError(f"more than {MAX_NODES} values: aliases that unfold too far?")
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.document.values[path] = place
        self.document.positions.setdefault(path, place)
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
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.value)
            here = (*path, key)
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in result:
                first = self.document.positions[here][0]
                self.document.positions[here] = place
                self._refuse(here, f"key {key!r} stands twice", f"the first is in line {first}")
                continue
            self.document.positions[here] = place
            result[key] = self.build(value_node, here)
        return result

    def _refuse(self, path: KeyPath, message: str, hint: str) -> None:
        self.document.problems.append(self.document.problem(path, message, hint))
