"""Java's text format for settings: `key=value` lines, as java.util.Properties reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANKS = " \t\f"
_KEY_VALUE = re.compile(r"((?:\\.|[^\\=: \t\f])+)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, key and value of each setting."""
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    for number, raw in lines:
        line = raw.lstrip(_BLANKS)
        if not line or line[0] in "#!":
            continue
        while _CONTINUED.search(line):
            line = line[:-1] + next(lines, (0, ""))[1].lstrip(_BLANKS)
        match = _KEY_VALUE.fullmatch(line)
        key, value = match.groups() if match else ("", "")
        yield number, unescaped(key), unescaped(value)


def unescaped(text: str) -> str:
    """`\\t`, `\\u00e4` and so on as the characters that they stand for."""

    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _CONTROL.get(match[2], match[2])

    return _ESCAPED.sub(character, text)
