"""The log's files: `YYYY-MM-DD.json`, in early years `YYYY-MM.json`, each also with `.gz`."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from jobs.cli import JobError, NonRetryableError

# Kafka takes no longer record, as brokers come. What is longer is cut here to one byte more: a file without line ends,
# or a small .gz of gigabytes, must not fill this machine's memory.
MAX_LINE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024

_DATE = re.compile(r"/Date\((-?\d{1,18})(?:[+-]\d{4})?\)/", re.ASCII)

_PLAIN_BYTES = 4096  # a longer line may hold a number that Python's parser refuses, and msgspec does not


class _Line(msgspec.Struct, gc=False):
    """What the producer reads of a line."""

    DateCreated: str
    SessionId: str


_decode = msgspec.json.Decoder(_Line).decode


class LogFileError(JobError):
    """A file that cannot be read to its end; the lines before that are good."""


@dataclass(frozen=True)
class LogFile:
    """One file and those of its days that were asked for."""

    path: Path
    days: tuple[dt.date, ...]

    def blocks(self) -> Iterator[tuple[dt.date, list[bytes]]]:
        """The lines of these days as they are, without their ends and without blank ones, in blocks of one day each.

        All lines of a day's file are of that day, whatever their dates say. In a month's file DateCreated (UTC)
        decides; a line with no date in that month goes with the line before it, so that none is lost. A line of more
        than MAX_LINE_BYTES is cut to one more. Raises LogFileError when the file cannot be read.
        """
        monthly = self.path.name.startswith(f"{self.days[0]:%Y-%m}.")
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                yield from self._by_day(file) if monthly else ((self.days[0], lines) for lines in _blocks(file))
        except (OSError, EOFError, zlib.error) as error:
            raise LogFileError(
                f"{self.path} cannot be read ({error}): fix or replace the file, then send its days again"
            ) from error

    def lines(self) -> Iterator[tuple[dt.date, bytes]]:
        """As `blocks`, line by line."""
        return ((day, line) for day, lines in self.blocks() for line in lines)

    def _by_day(self, file: BufferedReader | gzip.GzipFile) -> Iterator[tuple[dt.date, list[bytes]]]:
        day = month = self.days[0].replace(day=1)

        def day_of_next(line: bytes) -> dt.date:
            nonlocal day
            found = day_of(line)
            day = found if found and found.replace(day=1) == month else day
            return day

        for lines in _blocks(file):
            yield from ((its, list(group)) for its, group in groupby(lines, day_of_next) if its in self.days)


def _blocks(file: BufferedReader | gzip.GzipFile) -> Iterator[list[bytes]]:
    """The lines of a file, as many at once as a read has."""
    rest = b""
    while chunk := file.read1(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: MAX_LINE_BYTES + 2]  # of an endless line, and its possible "\r"
        yield _stripped(lines)
    yield _stripped([rest])


def _stripped(lines: list[bytes]) -> list[bytes]:
    """Without line ends, blank lines, and what is too much of the first one, which earlier reads may have begun."""
    if lines:
        lines[0] = lines[0].rstrip(b"\r")[: MAX_LINE_BYTES + 1]
    return [line.rstrip(b"\r") for line in lines if line and not line.isspace()]


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from first to last, both included; raises JobError when there is none."""
    if last < first:
        raise NonRetryableError(f"--last-date {last} is before --first-date {first}: swap them")
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def files_of(folder: Path, days: list[dt.date]) -> tuple[list[LogFile], list[dt.date]]:
    """The files of these days in order, and the days without one.

    A day's own file goes before its month's, a plain file before a packed one. Raises JobError when there is no
    folder, it is closed to this user, or it holds none of the days.
    """
    try:
        if not folder.is_dir():
            raise JobError(
                f"no folder {folder}: WEBSERVER_INGESTION_PATH must name the log's folder on the producer's host"
            )
        found = {day: path for day in days if (path := _file_of(folder, day))}
    except PermissionError as error:
        raise JobError(f"{folder} is not readable by uid {os.getuid()}: let others read it (chmod o+rx)") from error
    if not found:
        raise JobError(
            f"no log of {days[0]} to {days[-1]} in {folder} (as YYYY-MM-DD.json or YYYY-MM.json, also .gz): "
            "choose other days or put the files there"
        )
    by_path: dict[Path, list[dt.date]] = {}
    for day, path in found.items():
        by_path.setdefault(path, []).append(day)
    return [LogFile(path, tuple(its)) for path, its in by_path.items()], [day for day in days if day not in found]


def _file_of(folder: Path, day: dt.date) -> Path | None:
    names = (f"{stem}{ending}" for stem in (f"{day}", f"{day:%Y-%m}") for ending in (".json", ".json.gz"))
    return next((path for name in names if (path := folder / name).is_file()), None)


def record_of(line: bytes) -> dict[str, Any]:
    """A line's JSON object as far as the producer needs it; empty when it is none (Spark says what is wrong)."""
    try:
        record = json.loads(line.strip().removesuffix(b","))  # bytes: a BOM is taken
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def session_keys(lines: Iterable[bytes]) -> list[bytes | None]:
    """The bytes of each line's SessionId, or None when it has none."""
    return [plain.SessionId.encode() or None if (plain := _plain(line)) else _parsed_key(line) for line in lines]


def _parsed_key(line: bytes) -> bytes | None:
    session = record_of(line).get("SessionId")
    return session.encode("utf-8", "replace") if isinstance(session, str) and session else None


def _plain(line: bytes) -> _Line | None:
    """A line that is as nearly all are, eight times as fast as by `record_of`; None of another one."""
    if len(line) > _PLAIN_BYTES or b"\\" in line or not line.isascii():
        return None
    try:
        return _decode(line)
    except msgspec.DecodeError:
        return None


def source_ms(line: bytes) -> int | None:
    """DateCreated in epoch milliseconds, or None."""
    plain = _plain(line)
    date: object = plain.DateCreated if plain else record_of(line).get("DateCreated")
    found = _DATE.fullmatch(date) if isinstance(date, str) else None
    return int(found[1]) if found else None


def day_of(line: bytes) -> dt.date | None:
    """The UTC day on which a line's click happened, or None."""
    milliseconds = source_ms(line)
    if milliseconds is None:
        return None
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
