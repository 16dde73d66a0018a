"""Why a text is not YAML: what a person did, and where; libyaml often finds it further down."""

from __future__ import annotations

import re
import unicodedata

import yaml

from pipeline_config.problem import line_and_column, lines_of

Finding = tuple[int, int, str, str, str]  # what a Problem takes after its file: line, column, no path, message, hint


def what_is_wrong(text: str, error: yaml.YAMLError) -> Finding:
    """The place, the message and the hint for libyaml's `error` about `text`."""
    if found := _odd_character(text):
        return found
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        return _at_mark(lines_of(text), error.context_mark or mark, mark, str(error.problem or error.context))
    if control := _CONTROL.search(text):
        return *line_and_column(text[: control.start()]), "", f"control character {control[0]!r}", "remove it"
    return 1, 1, "", f"not YAML: {' '.join(str(error).split())}", ""


def _odd_character(text: str) -> Finding | None:
    """Invisible or accidental characters."""
    if not (odd := _ODD.search(text)):
        return None
    name = next(name for name in _ODD_WORDS if odd[name])
    message, hint = _ODD_WORDS[name]
    if name in ("space", "indent"):
        message = f"{unicodedata.name(odd[name]).lower()} (U+{ord(odd[name]):04X}) {message}"
    return *line_and_column(text[: odd.start(name)]), "", f"not YAML: {message}", hint


_ODD = re.compile(
    r"""(?mx) ^(?P<conflict> <<<<<<<\s | =======$ | >>>>>>>\s )
    | ^[ ]* [\w-]+ (?P<colon> \uff1a )
    | ^[ ]* (?:-[ ]+)? [\w-]+ : (?P<space> [\u00a0\u2007\u202f\u3000] )
    | ^[ ]* (?P<indent> [\u00a0\u2007\u202f\u3000] )"""
)
# A value, or the first item of a list, whose quote is open at the end of the line.
_UNCLOSED = re.compile(
    r"""(?x) [ ]* (?:-[ ]+)? (?:[\w-]+:[ ]+)? [\[{]? (?:[\w-]+:[ ]+)?
    (?P<quote>["']) (?: (?<=") (?:[^"\\]|\\.)* | (?<=') (?:[^']|'')* ) [\r\n]* \Z"""
)
_NO_BREAK = "replace it with a space"
_ODD_WORDS = {
    "conflict": ("a merge conflict is left here", "keep one of the two versions, and remove the markers"),
    "colon": ("a full-width colon (U+FF1A)", "write a plain colon and a space"),
    "space": ("after the colon", _NO_BREAK),
    "indent": ("in front of the line", _NO_BREAK),
}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\x80-\x84\x86-\x9f\ufffe\uffff]")


def _at_mark(lines: list[str], opened: yaml.Mark, mark: yaml.Mark, message: str) -> Finding:
    """`opened` is where libyaml began to read what it could not, `mark` where it noticed."""
    found = _open_quote(lines, opened, mark) or _open_bracket(lines, opened, message) or _above(lines, mark, message)
    if found:
        return found
    if "unexpected end of stream" in message:
        mark = opened  # a quote that is not closed
    # It looks for the end of what was opened up to the file's end, one line below its last.
    line = min(mark.line, len(lines) - 1)
    column = mark.column if line == mark.line else 0
    hint = _hint(lines[line], message)
    if not hint and opened is not mark and opened.line <= line:
        hint = f"what starts on line {opened.line + 1} is not closed or is wrongly indented"
    return line + 1, column + 1, "", f"not YAML: {message.removeprefix('but ')}", hint


def _open_quote(lines: list[str], opened: yaml.Mark, mark: yaml.Mark) -> Finding | None:
    for number, line in enumerate(lines[opened.line : mark.line + 1], opened.line + 1):
        if unclosed := _UNCLOSED.match(line):
            column = unclosed.start("quote") + 1
            return number, column, "", "not YAML: a quote opens here and is not closed on its line", "close it"
    return None


def _open_bracket(lines: list[str], opened: yaml.Mark, message: str) -> Finding | None:
    rest = lines[opened.line][opened.column :] if "expected ','" in message else ""
    bracket = rest[:1]
    if bracket not in _CLOSING or _CLOSING[bracket] in rest:  # else a comma is missing
        return None
    message = f"not YAML: {bracket} opens here and is not closed"
    return opened.line + 1, opened.column + 1, "", message, f"close it with {_CLOSING[bracket]}"


_CLOSING = {"[": "]", "{": "}"}


def _above(lines: list[str], mark: yaml.Mark, message: str) -> Finding | None:
    """A key without a colon, or with its value right after it, is text: the line below makes it an error."""
    above = lines[mark.line - 1] if mark.line and _UNEXPECTED_COLON.search(message) else ""
    key = _NOT_A_KEY.match(above)
    if not key:
        return None
    message = "there is no space after this colon" if key["value"] else "this key has no colon"
    return mark.line, key.end("key") + 1, "", f"not YAML: {message}", "add one"


_UNEXPECTED_COLON = re.compile("mapping values are not allowed|could not find expected ':'")
_NOT_A_KEY = re.compile(r" *(?:- )?(?P<key>[A-Za-z_][\w-]*)(?:\s*$|:(?P<value>[^\s/:]))")


def _hint(line: str, message: str) -> str:
    """The most likely cause of libyaml's `message` about `line`."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "YAML is indented with spaces; replace the tab"
    if "expected ','" in message:
        return "put text that contains { in quotes" if "${" in line else "put a comma between two members"
    if "expected key" in message and _QUOTE_IN_QUOTES.search(line):
        return "a quote within single quotes is written twice; or use double quotes"
    if "mapping values are not allowed" in message:
        return "put text that contains `: ` in quotes; or is the line above wrongly indented?"
    if "but found another document" in message:
        return "one file holds one document; remove `---` and what follows"
    if "could not find expected ':'" in message:
        return "a key ends with a colon and a space"
    if "cannot start any token" in message:
        return "put the text in quotes"
    if "undefined alias" in message or "alphabetic or numeric character" in message:
        return "put text that starts with * in quotes"
    return ""


_QUOTE_IN_QUOTES = re.compile(r"[:-] '[^']*'[^\s,\]}#']")
