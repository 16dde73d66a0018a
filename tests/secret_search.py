"""Looks for secrets where none belongs: files, rows of a database, command lines of processes, containers."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

from docker.errors import NotFound

SAMPLE_SECONDS = 0.2


class Secrets:
    """Secrets by name, looked for as they are, in base64, URL-quoted and as JSON has them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._names = {form: name for name, value in values.items() for form in forms(value)}
        # The longest first: one secret may begin as another does.
        longest = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest)))

    def found_in(self, data: bytes) -> set[str]:
        """The names of those that stand in `data`."""
        return {self._names[match] for match in self._pattern.findall(data)}

    def found(self, places: Iterable[tuple[str, bytes]]) -> list[str]:
        """A line for each secret in each place (name, content) that holds one; no line holds the secret."""
        return [f"{name} in {place}" for place, data in places for name in sorted(self.found_in(data))]


def forms(value: str) -> set[bytes]:
    """How a secret may be written; base64 also in the midst of something longer."""
    texts = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    for offset in range(3):
        data = bytes(offset) + value.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Characters at both ends also hold bits of what stands before and after.
            first, last = (offset * 8 + 5) // 6, len(data) * 8 // 6
            texts.add(encode(data).decode()[first:last])
    return {text.encode() for text in texts}


def key_lines(path: Path) -> dict[str, str]:
    """The lines of a private key file, each a secret of its own."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {f"{path.name}, line {number}": line for number, line in enumerate(lines) if not line.startswith("-----")}


def files_below(root: Path, but: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, without those whose path below it begins with one of `but`."""
    without = tuple(but)
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not name.startswith(without) and path.is_file() and not path.is_symlink():
            try:
                yield name, path.read_bytes()
            except FileNotFoundError:
                continue  # a server has removed it meanwhile


def rows_of(database: Path) -> Iterator[tuple[str, bytes]]:
    """Every table of an SQLite database as text: long values lie in pieces in its file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            name = table.decode()
            rows = connection.execute(f'SELECT * FROM "{name}"')
            values = (value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
            yield f"table {name}", b"\n".join(values)


class Samples:
    """Within it, all command lines of this machine and all containers of an engine, if any, are seen, several times a
    second.

    `commands` are the command lines, words apart by blanks; `containers` is what `docker inspect` says of each.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples")
        self._error: Exception | None = None
        self.commands: set[bytes] = set()
        self.containers: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        if self._client:
            self._client.close()
        if self._error and not kind:
            raise self._error

    def places(self) -> Iterator[tuple[str, bytes]]:
        """What was seen, by its kind."""
        for command in tuple(self.commands):
            yield f"command line of {command[:60].decode(errors='replace')}", command
        for name, inspected in tuple(self.containers.items()):
            yield f"docker inspect of {name[:12]}", json.dumps(inspected).encode()

    def _run(self) -> None:
        try:
            while not self._ends.wait(SAMPLE_SECONDS):
                self._sample()
        except Exception as error:  # noqa: BLE001 (raised where the samples end)
            self._error = error

    def _sample(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.commands.add(path.read_bytes().replace(b"\0", b" "))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
        for container in self._client.api.containers(all=True) if self._client else ():
            try:
                self.containers[container["Id"]] = self._client.api.inspect_container(container["Id"])
            except NotFound:
                continue
