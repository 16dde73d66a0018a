"""The lines of a YAML file as a tree: what belongs to each key, its comments included; keys in the schema's order.

Only the parser's events are used. What is between two of them is punctuation or a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipeline_config import yaml_text
from pipeline_config.key_order import Keys

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_MODELINE = "# yaml-language-server:"
_BLANK_LINES = re.compile(r"(?:\n *)+\Z")
_DASH = re.compile(r"^ *(?P<dash>-)(?=\s|$)", re.MULTILINE)
_NO_PUNCTUATION = re.compile(r"[^\s:?-]")


class LayoutError(Exception):
    """Why a file cannot be laid out, what to do, and at which character."""

    def __init__(self, position: int, why: str, hint: str) -> None:
        super().__init__(why)
        self.position = position
        self.why = why
        self.hint = hint


@dataclass
class Atom:
    """A value that is printed unchanged: text, or a collection in brackets; `column` is where it began."""

    text: str
    column: int
    is_block: bool = False  # `|` or `>`


@dataclass
class Entry:
    """A key with its value, or a list item; the comment lines before it, and the comment beside it.

    `column` is where it begins, `gap` the blanks before that comment, `properties` are anchor and tag of a block.
    """

    column: int
    before: list[str]
    name: str | None = None
    key: str = ""
    properties: str = ""
    value: Atom | Block = field(default_factory=lambda: Atom("", 0))
    gap: str = ""
    comment: str = ""


@dataclass
class Block:
    """A mapping or list without brackets, and the lines of comment after its last entry."""

    column: int = 0
    entries: list[Entry] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class Reader:
    """Reads a file, valid YAML, whose top is a mapping without brackets. Raises LayoutError."""

    def __init__(self, text: str, keys: Keys) -> None:
        self.text = text
        self.keys = keys
        self.events: list[Any] = list(yaml.parse(text, yaml.CSafeLoader))
        self.number = 0  # of the next event
        self.position = 0  # up to which the text is read
        self.beside = Entry(0, [])  # what a comment at the end of this line belongs to
        self.waiting: list[str] = []  # lines of comment for the next entry
        self.closed: list[Block] = []  # blocks that ended since the last gap

    def whole(self) -> tuple[list[str], Block, list[str]]:
        """The lines of comment that head the file, its keys, and the lines of comment at its end."""
        while not isinstance(self.events[self.number], yaml.MappingStartEvent):
            self.number += 1
        start = self.events[self.number].start_mark.index
        self._gap(start)
        paragraph = len(self.waiting) - [*reversed(self.waiting), ""].index("")
        own = max(paragraph, 1 if self.waiting and self.waiting[0].startswith(_MODELINE) else 0)
        head, self.waiting = self.waiting[:own], self.waiting[own:]
        top = Entry(0, [])
        self._value(top, self.keys)
        if not isinstance(top.value, Block):
            raise LayoutError(start, "the whole file is one mapping in braces", "write each key on its own line")
        self._gap(len(self.text))
        return head, top.value, self.waiting

    def _value(self, entry: Entry, keys: Keys) -> None:
        event = self.events[self.number]
        start: int = event.start_mark.index
        if not isinstance(event, yaml.CollectionStartEvent) or event.flow_style:
            entry.value = self._atom(keys)
            entry.before += self.waiting
            self.waiting = []
            return
        properties = _PROPERTIES.match(self.text, start)
        if properties and properties[0]:
            self._gap(start)
            entry.properties = " ".join(properties[0].split())
            self.position += len(properties[0].rstrip())
        self.number += 1
        entry.value = block = Block()
        while not isinstance(self.events[self.number], yaml.CollectionEndEvent):
            block.entries.append(self._entry(keys, is_mapping=isinstance(event, yaml.MappingStartEvent)))
        self.number += 1
        block.column = block.entries[0].column
        block.entries.sort(key=lambda one: keys.place(one.name))
        self.closed.append(block)

    def _entry(self, keys: Keys, *, is_mapping: bool) -> Entry:
        entry = Entry(self._gap(self.events[self.number].start_mark.index), self.waiting)
        self.waiting = []
        if is_mapping:
            entry.name = str(getattr(self.events[self.number], "value", None))
            entry.key = self._atom(keys).text
        self.beside = entry
        self._value(entry, keys.of(entry.name))
        return entry

    def _gap(self, start: int) -> int:
        """Read the comments up to `start`; the column of what begins there, a dash included."""
        gap, before = self.text[self.position : start], self.position
        rest = _COMMENT.sub(lambda comment: " " * len(comment[0]), gap)
        if odd := _NO_PUNCTUATION.search(rest):
            word = gap[odd.start() :].split()[0]
            raise LayoutError(before + odd.start(), f"{word} is neither a key, a value nor a comment", "remove it")
        dash = _DASH.search(gap)
        first = before + dash.start("dash") if dash else start
        column = first - (self.text.rfind("\n", 0, first) + 1)
        rest, *lines = gap.split("\n")
        if not before or self.text[before - 1] == "\n":
            lines.insert(0, rest)
        elif found := _COMMENT.search(rest):
            self.beside.comment = found[0].rstrip()
            self.beside.gap = rest[: found.start()].lstrip(":-?")
        if lines:
            self._keep(lines, column)
        self.position = max(start, before)
        return column

    def _keep(self, lines: list[str], column: int) -> None:
        """Lines of comment lead what comes next; those that are indented deeper end the block that has ended."""
        *whole, last = ((line, _COMMENT.search(line)) for line in lines)
        found = [*whole, *([last] if last[1] else [])]  # without a comment it is the indentation of what comes next
        kept = [
            (_indent(line), comment[0].rstrip() if comment else "")
            for line, comment in found
            if comment or not line.strip()
        ]
        deep = 0
        for number, (its_column, comment) in enumerate(kept if self.closed else ()):
            if comment and its_column <= column:
                break
            deep = number + 1 if comment else deep
        for its_column, comment in kept[:deep]:
            around = [block for block in self.closed if block.column <= its_column or not comment]
            block = max(around or self.closed[-1:], key=lambda one: one.column)
            block.after.append(comment)
        self.waiting += [comment for _, comment in kept[deep:]]
        self.closed = []

    def _atom(self, keys: Keys) -> Atom:
        event = self.events[self.number]
        self._gap(event.start_mark.index)
        text, end = self._text(keys)
        is_block = getattr(event, "style", None) in ("|", ">")
        if is_block and "+" not in text.partition("\n")[0]:
            text = _BLANK_LINES.sub("", text)
            end = event.start_mark.index + len(text)
        self.position = max(self.position, end)
        return Atom(text, event.start_mark.column, is_block)

    def _text(self, keys: Keys) -> tuple[str, int]:
        """The text of an event, with one kind of quotes and keys in order; and where it ends in the file."""
        event = self.events[self.number]
        self.number += 1
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.CollectionStartEvent):
            return self._brackets(event, keys)
        text = self.text[start:end]
        if isinstance(event, yaml.ScalarEvent) and text[:1] in ("'", '"') and "\n" not in text:
            text = yaml_text.quoted(event.value)
        return text, end

    def _brackets(self, event: Any, keys: Keys) -> tuple[str, int]:
        """A collection in brackets: its members may be reordered, what is between them stays."""
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        between: list[str] = []
        members: list[tuple[int, str]] = []
        position = event.start_mark.index
        while not isinstance(self.events[self.number], yaml.CollectionEndEvent):
            first = self.events[self.number]
            between.append(self.text[position : first.start_mark.index])
            name = str(getattr(first, "value", None)) if is_mapping else None
            text, position = self._text(keys if is_mapping else keys.of(None))
            if is_mapping:
                start = self.events[self.number].start_mark.index
                value, end = self._text(keys.of(name))
                text += self.text[position:start] + value
                position = max(position, end)
            members.append((keys.place(name), text))
        end = self.events[self.number].end_mark.index
        self.number += 1
        if not any(_COMMENT.search(line) for text in between for line in text.split("\n")):
            members.sort(key=lambda member: member[0])
        parts = [part for pair in zip(between, (text for _, text in members), strict=True) for part in pair]
        return "".join([*parts, self.text[position:end]]), end


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
