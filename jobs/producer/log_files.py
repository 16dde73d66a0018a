"""The log's files: `YYYY-MM-DD.json`, in early years `YYYY-MM.json`, each also with `.gz`."""

from __future__ import annotations

import calendar
import datetime as dt
import gzip
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from jobs.console import say
from jobs.days import Span, gaps, spans_text
from jobs.errors import BrokenFileError, JobError, LogFileError, NonRetryableError

# Kafka's default limit for a record. A longer line is cut here to one byte more: a file without line ends,
# or a small .gz that unpacks to gigabytes, must not fill this machine's memory.
MAX_LINE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
GROWING_SECONDS = 600  # this long after the last write, a file's last line is complete even without a line end

_NAME = re.compile(r"((\d{4})-(\d\d)(?:-(\d\d))?)\.json(?:\.gz)?", re.ASCII)
_DATE = re.compile(r"/Date\((-?\d{1,18})(?:[+-]\d{4})?\)/", re.ASCII)

_PLAIN_BYTES = 4096  # a longer line may hold a number that Python's parser refuses but msgspec accepts


class _Line(msgspec.Struct, gc=False):
    """What the producer reads of a line."""

    DateCreated: str
    SessionId: str


_decode = msgspec.json.Decoder(_Line).decode


@dataclass
class LogFile:
    """One file and those of its days that were asked for.

    `end` is how many of its bytes `blocks` has read, once it is exhausted; meaningless before that.
    """

    path: Path
    days: tuple[dt.date, ...]
    end: int = -1

    @property
    def stem(self) -> str:
        """The name of the file, the same whether compressed or not."""
        return self.path.name.removesuffix(".gz")

    def blocks(self) -> Iterator[tuple[dt.date, list[bytes]]]:
        """The lines of these days unchanged, without line ends and blank lines, in blocks of one day each.

        All lines of a day's file are of that day, whatever their dates say. In a month's file DateCreated (UTC)
        decides; a line with no date in that month goes with the line before it, so that none is lost. A line of more
        than MAX_LINE_BYTES is cut to one more. A last line that is still being written is left for the next run.
        Raises LogFileError when the file cannot be read, BrokenFileError when a compressed one is corrupt.
        """
        monthly = self.path.name.startswith(f"{str(self.days[0])[:7]}.")
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                yield from self._by_day(file) if monthly else ((self.days[0], lines) for lines in self._lines(file))
        except (OSError, EOFError, zlib.error) as error:
            is_content = isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile))
            self.end = self.path.stat().st_size if is_content else -1
            raise (BrokenFileError if is_content else LogFileError)(
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

        for lines in self._lines(file):
            yield from ((key, list(group)) for key, group in groupby(lines, day_of_next) if key in self.days)

    def _lines(self, file: BufferedReader | gzip.GzipFile) -> Iterator[list[bytes]]:
        """The lines, in batches of one read each."""
        rest, taken = b"", 0
        while chunk := file.read1(READ_BYTES):
            taken += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES + 2:  # with the possible "\r" of one that is not overlong
                rest = rest[: MAX_LINE_BYTES + 1] + b"."  # so that a "\r" at the cut does not look like a line end
            yield _stripped(lines)
        if self._is_growing(rest, file):
            self.end = taken - len(rest)
            say(f"{self.path.name}: its last line does not end with a newline yet; it is left for the next run")
        else:
            self.end = os.fstat(file.fileno()).st_size if self.path.suffix == ".gz" else taken
            yield _stripped([rest])

    def _is_growing(self, rest: bytes, file: BufferedReader | gzip.GzipFile) -> bool:
        """Whether this last line is still being written: it is incomplete, and the file was written to recently."""
        is_part = 0 < len(rest.strip()) <= MAX_LINE_BYTES and self.path.suffix != ".gz" and _object(rest) is None
        return is_part and time.time() - os.fstat(file.fileno()).st_mtime < GROWING_SECONDS


def _stripped(lines: list[bytes]) -> list[bytes]:
    """Without line ends, blank lines, and the excess of an overlong line."""
    return [line.rstrip(b"\r")[: MAX_LINE_BYTES + 1] for line in lines if line and not line.isspace()]


def files_of(folder: Path, first: dt.date | None, last: dt.date) -> tuple[list[LogFile], list[Span]]:
    """The files of these days in order, and the days without a file; without `first`, from the start of the log.

    A day's file takes precedence over its month's, a plain file over a compressed one. Raises JobError when there is no
    folder, it is not readable by this user, or it has none of the days.
    """
    if first and last < first:
        raise NonRetryableError(f"--last-date {last} is before --first-date {first}: swap them")
    try:
        if not folder.is_dir():
            raise JobError(f"no folder {folder}: --ingestion-path must name the log's folder on the producer's host")
        with os.scandir(folder) as entries:
            names = {  # Path's is_file, unlike the entry's, takes a link to itself for no file
                entry.name: match
                for entry in entries
                if (match := _NAME.fullmatch(entry.name)) and Path(entry).is_file()
            }
    except PermissionError as error:
        raise JobError(f"{folder} is not readable by uid {os.getuid()}: let others read it (chmod o+rx)") from error
    except OSError as error:
        wrong = f"{folder} cannot be read ({error.strerror})"
        raise JobError(f"{wrong}: --ingestion-path must name the log's folder on the producer's host") from error
    found = {
        day: folder / name
        for name in sorted(names, key=lambda name: (len(names[name][1]), -len(name)))
        for day in _days_of(names[name])
        if (first or day) <= day <= last
    }
    if not found:
        raise JobError(
            f"no log of {spans_text([(first or last, last)])} in {folder} (as YYYY-MM-DD.json or YYYY-MM.json, also "
            ".gz): choose other days or put the files there"
        )
    by_path: dict[Path, list[dt.date]] = {}
    for day, path in sorted(found.items()):
        by_path.setdefault(path, []).append(day)
    return [LogFile(path, tuple(days)) for path, days in by_path.items()], gaps(found, first or min(found), last)


def _days_of(name: re.Match[str]) -> Iterator[dt.date]:
    """The days of a file: one, or those of a month; none if its name is not a date."""
    year, month = int(name[2]), int(name[3])
    if not (dt.MINYEAR <= year and 1 <= month <= 12):
        return
    days = calendar.monthrange(year, month)[1]
    numbers = range(1, days + 1) if name[4] is None else range(int(name[4]), int(name[4]) + 1)
    yield from (dt.date(year, month, number) for number in numbers if 1 <= number <= days)


def record_of(line: bytes) -> dict[str, Any]:
    """What the producer needs of a line's JSON object; empty if it is not one (Spark reports what is wrong)."""
    return _object(line) or {}


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.strip().removesuffix(b","))  # bytes: a BOM is accepted
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def session_keys(lines: Iterable[bytes]) -> list[bytes | None]:
    """The bytes of each line's SessionId, or None."""
    return [plain.SessionId.encode() or None if (plain := _plain(line)) else _parsed_key(line) for line in lines]


def _parsed_key(line: bytes) -> bytes | None:
    session = record_of(line).get("SessionId")
    return session.encode("utf-8", "replace") if isinstance(session, str) and session else None


def _plain(line: bytes) -> _Line | None:
    """A line of the usual form, eight times as fast as by `record_of`; None for any other."""
    if len(line) > _PLAIN_BYTES or b"\\" in line or not line.isascii():
        return None
    try:
        return _decode(line)
    except (msgspec.DecodeError, RecursionError):
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
