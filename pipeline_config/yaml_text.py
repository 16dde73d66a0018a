"""How this project writes YAML: text without quotes where the reader allows it, short lists on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pipeline_config.reader import Document, parse

WIDTH = 120
INDENT = 2
_STARTS_PLAIN = re.compile(r"[^\W\d]|[/.]")  # dates, cron expressions and what looks like a number are quoted
_NEVER_PLAIN = re.compile(r"[\n{}]| #|\s$")
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff]")


def quoted(text: str) -> str:
    """In double quotes; in single ones when the text has double quotes or backslashes, and nothing to escape."""
    double = _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
    if re.sub(r'\\["\\]', "", double).count("\\") or double == f'"{text}"':
        return double
    return "'" + text.replace("'", "''") + "'"


def inline(value: Any) -> str:
    """A value on one line: `[start, "{{ ds }}"]`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_plain(str(key))}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return _plain(value) if isinstance(value, str) else json.dumps(value)


def mapping(data: dict[str, Any], indent: int = 0, *, members_inline: tuple[str, ...] = ("params",)) -> Iterator[str]:
    """The lines of a mapping; the members of those keys are on one line each where they fit."""
    for key, value in data.items():
        name = f"{' ' * indent}{_plain(key)}:"
        line = f"{name} {_line(value)}"
        nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))
        if not value or not nested:
            yield from [line] if len(line) <= WIDTH or not isinstance(value, list) else _wrapped(name, value)
        elif isinstance(value, list):
            yield name
            for item in value:
                first, *rest = mapping(item, indent + 2 * INDENT) if isinstance(item, dict) else [inline(item)]
                yield f"{' ' * (indent + INDENT)}- {first.lstrip()}"
                yield from rest
        elif key in members_inline:
            yield name
            for member, schema in value.items():
                line = f"{' ' * (indent + INDENT)}{member}: {inline(schema)}"
                yield from [line] if len(line) <= WIDTH else mapping({member: schema}, indent + INDENT)
        else:
            yield name
            yield from mapping(value, indent + INDENT)


def _line(value: Any) -> str:
    """A value after its key: text may contain more there than inside brackets."""
    return _plain(value, "{}") if isinstance(value, str) else inline(value)


def _plain(text: str, place: str = "[{}, 1]") -> str:
    """`text` unquoted if the reader reads it as that text there, else quoted."""
    if _STARTS_PLAIN.match(text) and not _NEVER_PLAIN.search(text):
        read = parse(Document(""), f"key: {place.replace('{}', text)}\n".encode()).data
        if read in ({"key": text}, {"key": [text, 1]}):
            return text
    return quoted(text)


def _wrapped(name: str, values: list[Any]) -> Iterator[str]:
    """A list of several lines, below its bracket."""
    line = f"{name} ["
    below = " " * len(line)
    for number, value in enumerate(values):
        word = inline(value) + ("]" if number == len(values) - 1 else ",")
        if len(line) + len(word) >= WIDTH:
            yield line.rstrip()
            line = below
        line += f"{word} "
    yield line.rstrip()
