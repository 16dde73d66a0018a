"""The two ways of sending: a range of days at once, and a replay at the pace of event_ts."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.cli import JobError, say
from jobs.producer.log_files import days_between, files_of, lines_of, record_of, source_ms

if TYPE_CHECKING:
    from jobs.producer.sender import Sender

WEEK_MS = 7 * 24 * 3600 * 1000
PROGRESS_SECONDS = 10.0


def send_batch(sender: Sender, folder: Path, first: dt.date, last: dt.date, shift_weeks: int) -> None:
    """Send every line of these days; days without a file or without a line raise JobError after the others are sent."""
    days = days_between(first, last)
    files, missing = files_of(folder, days)
    wrong = [f"{day} has no file" for day in missing]
    for day, path in files.items():
        before = sender.sent
        try:
            for line in lines_of(path, day):
                sender.send(line, shift_weeks * WEEK_MS)
        except JobError as error:
            wrong.append(str(error))
        sender.flush()
        say(f"{day}: sent {sender.sent - before} lines of {path.name}, {sender.acknowledged} acknowledged in all")
        if sender.sent == before:
            wrong.append(f"{day} has no line in {path}: a day without a click is not plausible, look at the web server")
    sender.finish(len(files))
    if wrong:
        raise JobError(f"{'; '.join(wrong)} (the other days were sent; send these again when they are there)")


def weeks_to_today(first: dt.date, today: dt.date) -> int:
    """Whole weeks that move `first` to the latest day of its weekday that is not after `today`."""
    return (today - first).days // 7


def send_realtime(
    sender: Sender,
    folder: Path,
    first: dt.date,
    last: dt.date,
    speed: float,
    run_seconds: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Replay these days until their end or until `run_seconds` are over.

    At speed 1 a click is due at its event_ts, those before now at once. Faster, the replay starts now with its first
    click, and only the sending is faster. A line without a readable date goes with the line before it.
    """
    days = days_between(first, last)
    files, missing = files_of(folder, days)
    if missing:
        raise JobError(
            f"no log of {', '.join(str(day) for day in missing)} in {folder}: put the files there, or replay less"
        )
    started = clock()
    shift_ms = weeks_to_today(first, dt.datetime.fromtimestamp(started, dt.UTC).date()) * WEEK_MS
    say(f"replays {first} to {last}, moved by {shift_ms // WEEK_MS} weeks, at speed {speed:g}")
    origin: float | None = None
    shown = started
    for line in _all_lines(files):
        record = record_of(line)
        source = source_ms(record)
        if source is not None and abs(source + shift_ms - started * 1000) < 400 * 24 * 3600 * 1000:
            event = (source + shift_ms) / 1000
            if origin is None:
                origin = started if speed == 1 else event
            due = started + (event - origin) / speed
            if due > started + run_seconds:
                break
            if due > clock():
                sender.flush()
                sleep(max(0.0, due - clock()))
        sender.send(line, shift_ms, record)
        if clock() - shown >= PROGRESS_SECONDS:
            shown = clock()
            say(f"sent {sender.sent} lines, acknowledged {sender.acknowledged}")
    sender.finish(len(files))


def _all_lines(files: dict[dt.date, Path]) -> Iterator[bytes]:
    for day, path in files.items():
        yield from lines_of(path, day)
