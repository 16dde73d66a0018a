"""The log's files: `YYYY-MM-DD.json`, in early years `YYYY-MM.json`, each also with `.gz`."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.cli import JobError

_DATE = re.compile(r"^/Date\((-?\d+)(?:[+-]\d{4})?\)/$")
BOM = b"\xef\xbb\xbf"


def days_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from first to last, both included; raises JobError when there is none."""
    if last < first:
        raise JobError(f"--last-date {last} is before --first-date {first}: turn them round")
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def file_of(folder: Path, day: dt.date) -> Path | None:
    """The file that holds a day, or None: its own, or its month's."""
    names = (f"{stem}{ending}" for stem in (f"{day}", f"{day:%Y-%m}") for ending in (".json", ".json.gz"))
    return next((path for name in names if (path := folder / name).is_file()), None)


def files_of(folder: Path, days: list[dt.date]) -> tuple[dict[dt.date, Path], list[dt.date]]:
    """The file of each day, and the days without one; raises JobError when there is no folder or no file at all."""
    if not folder.is_dir():
        raise JobError(f"no folder {folder}: WEBSERVER_INGESTION_PATH must name the log's folder on the Docker host")
    found = {day: path for day in days if (path := file_of(folder, day))}
    if not found:
        raise JobError(
            f"no log of {days[0]} to {days[-1]} in {folder} (as YYYY-MM-DD.json or YYYY-MM.json, also .gz): "
            "choose other days or put the files there"
        )
    return found, [day for day in days if day not in found]


def lines_of(path: Path, day: dt.date) -> Iterator[bytes]:
    """The lines of a day as they are, without their ends; blank ones are left out.

    From a month's file only the lines of that day (by DateCreated, UTC); a line whose date cannot be read goes with
    the line before it. Raises JobError when the file cannot be read.
    """
    monthly = not path.name.startswith(f"{day}.")
    line_day = day.replace(day=1)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for raw in file:
                line = raw.rstrip(b"\r\n")
                if not line.strip():
                    continue
                if monthly:
                    line_day = day_of(line) or line_day
                if not monthly or line_day == day:
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        raise JobError(f"{path} cannot be read ({error}): mend or replace the file, then send its day again") from error


def record_of(line: bytes) -> dict[str, Any]:
    """A line's JSON object as far as the producer needs it; empty when it is none (Spark says what is wrong)."""
    try:
        record = json.loads(line.removeprefix(BOM).strip().removesuffix(b","))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def source_ms(record: dict[str, Any]) -> int | None:
    """DateCreated in epoch milliseconds, or None."""
    match = _DATE.match(record.get("DateCreated") or "") if isinstance(record.get("DateCreated"), str) else None
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
