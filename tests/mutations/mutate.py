"""Seeded ways to break a YAML file: each takes the text and gives other bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import yaml

# What a value becomes when it is given another type.
OTHER_TYPES = (
    *("true", "no", "null", "0", "-1", "12", "3.5", ".inf", "2024-01-01", "12:30", "''", "'text'", "[]", "{}"),
    *("[text]", "[1, [2]]", "{key: text}", "!!python/name:os.system x", "*alias", "&anchor x", "|\n  text"),
)
# What breaks readers: control characters, no UTF-8, byte order mark, line ends of other systems, YAML's own signs.
NASTY = (
    *(b"\x00", b"\x07", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80"),
    *(b": ", b"- ", b"#", b" #", b"'", b'"', b"{", b"}", b"[", b"]", b",", b"&a ", b"*a ", b"!!str ", b"|", b">", b"%"),
    *(b"---\n", b"...\n", b"<<: ", b"? ", b"{{", b"}}", b"{% ", b"$(id)", b"\\"),
)


@dataclass
class Source:
    """A file to be broken: its text, and the character ranges of its keys, values and key-value pairs."""

    text: str
    keys: list[tuple[int, int]] = field(default_factory=list)
    values: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._note(yaml.compose(self.text, yaml.SafeLoader))

    def _note(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            starts = [key.start_mark.index for key, _ in node.value]
            for (key, value), end in zip(node.value, [*starts, None][1 : len(starts) + 1], strict=True):
                self.keys.append((key.start_mark.index, key.end_mark.index))
                self.pairs.append((key.start_mark.index, end or value.end_mark.index))
                self._note(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._note(item)
        elif node:
            self.values.append((node.start_mark.index, node.end_mark.index))

    def lines(self) -> list[tuple[int, int]]:
        """The range of each line, its line end included."""
        ranges, start = [], 0
        for line in self.text.splitlines(keepends=True):
            ranges.append((start, start + len(line)))
            start += len(line)
        return ranges

    def replaced(self, place: tuple[int, int], new: str) -> bytes:
        """The file with `new` in the place of that range."""
        return (self.text[: place[0]] + new + self.text[place[1] :]).encode()


class Code(Source):
    """A file that is no YAML: its words are its keys and values, its lines its pairs."""

    def __post_init__(self) -> None:
        self.keys = self.values = [match.span() for match in re.finditer(r"\w+", self.text)]
        self.pairs = self.lines()


def delete(source: Source, random: Random) -> bytes:
    """Without a line, a key with its value, or a value."""
    return source.replaced(random.choice(random.choice([source.lines(), source.pairs, source.values])), "")


def duplicate(source: Source, random: Random) -> bytes:
    """With a line, or a key with its value, twice."""
    start, end = random.choice(random.choice([source.lines(), source.pairs]))
    return source.replaced((start, start), source.text[start:end])


def rename(source: Source, random: Random) -> bytes:
    """With a slip of the pen in a key or a value, or with another name of the same file in its place."""
    place = random.choice(random.choice([source.keys, source.values]))
    word = source.text[slice(*place)]
    if random.random() < OTHER_NAME:
        same = source.keys if place in source.keys else source.values
        return source.replaced(place, source.text[slice(*random.choice(same))])
    return source.replaced(place, _misspelt(word, random))


OTHER_NAME = 0.25


def _misspelt(word: str, random: Random) -> str:
    at = random.randrange(max(len(word), 1))
    before, here, after = word[:at], word[at : at + 1], word[at + 1 :]
    return random.choice(
        [
            before + after,
            before + here * 2 + after,
            before + after[:1] + here + after[1:],
            before + random.choice("abcdefghijklmnopqrstuvwxyz0123456789") + after,
            before + random.choice("abcdefghijklmnopqrstuvwxyz0123456789") + here + after,
            before + here.swapcase() + after,
            word.replace("_", "-") if "_" in word else word.replace("-", "_"),
        ]
    )


def retype(source: Source, random: Random) -> bytes:
    """With a value of another type; as text, if it was none; or in a list."""
    place = random.choice(source.values)
    word = source.text[slice(*place)]
    return source.replaced(place, random.choice([*OTHER_TYPES, f"'{word}'", f"[{word}]", word.strip("\"'")]))


def reindent(source: Source, random: Random) -> bytes:
    """With a line, or with all from it on, moved to the left or right."""
    start, end = random.choice(source.lines())
    if random.random() < TO_THE_END:
        end = len(source.text)
    indent = random.choice([" ", "  ", "    ", "\t", "", ""])
    lines = source.text[start:end].splitlines(keepends=True)
    away = random.choice([1, 2, 4])
    moved = [indent + line if indent else line[min(away, len(line) - len(line.lstrip(" "))) :] for line in lines]
    return source.replaced((start, end), "".join(moved))


TO_THE_END = 0.2


def truncate(source: Source, random: Random) -> bytes:
    """Cut off anywhere, or with one line cut off."""
    start, end = random.choice(source.lines())
    cut = random.randrange(start, end)
    return source.replaced((cut, random.choice([end - 1, len(source.text)])), "")


def insert_bytes(source: Source, random: Random) -> bytes:
    """With bytes in it that do not belong there, also in the middle of a character."""
    raw = source.text.encode()
    at = random.randrange(len(raw) + 1)
    new = random.choice([random.choice(NASTY), random.randbytes(random.randint(1, 3))])
    return raw[:at] + new + raw[at:]


KINDS: dict[str, Callable[[Source, Random], bytes]] = {
    "delete": delete,
    "duplicate": duplicate,
    "rename": rename,
    "retype": retype,
    "reindent": reindent,
    "truncate": truncate,
    "insert bytes": insert_bytes,
}


def mutant(source: Source, kind: str, random: Random) -> bytes:
    """Other bytes than the file's."""
    original = source.text.encode()
    while (changed := KINDS[kind](source, random)) == original:
        pass
    return changed
