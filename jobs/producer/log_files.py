"""The log's files: `YYYY-MM-DD.json`, in early years `YYYY-MM.json`, each also with `.gz`."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.cli import JobError

_DATE = re.compile(r"/Date\((-?\d{1,18})(?:[+-]\d{4})?\)/", re.ASCII)


class LogFileError(JobError):
    """A file that cannot be read to its end; the lines before that are good."""


@dataclass(frozen=True)
class LogFile:
    """One file and those of its days that were asked for."""

    path: Path
    days: tuple[dt.date, ...]

    def lines(self) -> Iterator[tuple[dt.date, bytes]]:
        """Each line of these days as it is, without its end, and its day; blank lines are left out.

        All lines of a day's file are of that day, whatever their dates say. In a month's file DateCreated (UTC)
        decides; a line with no date in that month goes with the line before it, so that none is lost.
        Raises LogFileError when the file cannot be read.
        """
        monthly = self.path.name.startswith(f"{self.days[0]:%Y-%m}.")
        day = self.days[0].replace(day=1) if monthly else self.days[0]
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                for raw in file:
                    line = raw.rstrip(b"\r\n")
                    if not line.strip():
                        continue
                    if monthly:
                        found = day_of(line)
                        day = found if found and found.replace(day=1) == day.replace(day=1) else day
                    if day in self.days:
                        yield day, line
        except (OSError, EOFError, zlib.error) as error:
            raise LogFileError(
                f"{self.path} cannot be read ({error}): mend or replace the file, then send its days again"
            ) from error


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from first to last, both included; raises JobError when there is none."""
    if last < first:
        raise JobError(f"--last-date {last} is before --first-date {first}: turn them round")
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
        raise JobError(f"{folder} is closed to user id {os.getuid()}: let others read it (chmod o+rx)") from error
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


def source_ms(record: dict[str, Any]) -> int | None:
    """DateCreated in epoch milliseconds, or None."""
    date = record.get("DateCreated")
    match = _DATE.fullmatch(date) if isinstance(date, str) else None
    return int(match[1]) if match else None


def day_of(line: bytes) -> dt.date | None:
    """The UTC day on which a line's click happened, or None."""
    milliseconds = source_ms(record_of(line))
    if milliseconds is None:
        return None
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
