"""The two ways of sending: a range of days at once, and a replay at the pace of event_ts."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from jobs.console import say
from jobs.contract import MIN_TS
from jobs.days import Span, gaps, spans_of, spans_text
from jobs.errors import BrokenFileError, JobError, LogFileError, NonRetryableError
from jobs.event import MAX_EVENT_AHEAD
from jobs.producer.log_files import LogFile, source_ms

DAY_SECONDS = 24 * 3600
WEEK_MS = 7 * DAY_SECONDS * 1000
PROGRESS_SECONDS = 10.0
# A date this far from its file's day is a defect of the line, not a time to wait for.
LATE_SECONDS, EARLY_SECONDS = 31 * DAY_SECONDS, DAY_SECONDS


class Sink(Protocol):
    """Where lines go: a Sender."""

    sent: int

    @property
    def acknowledged(self) -> int:
        """How many lines are stored."""

    def given(self, shift_ms: int) -> set[tuple[str, dt.date, int]]:
        """Complete days that earlier runs sent: a file's stem, a day, the file's size."""

    def resume(self, file: LogFile, shift_ms: int) -> int:
        """Begin a file; returns how many of its lines are stored already."""

    def end_file(self, size: int) -> None:
        """End that file, which has this size in bytes."""

    def send(self, lines: Sequence[bytes], shift_ms: int) -> None:
        """Send these lines as they are, each with `shift_ms` in a header."""

    def wait(self, seconds: float) -> None:
        """Wait for so many seconds."""

    def flush(self) -> None:
        """Wait until all are stored."""

    def finish(self, days: int) -> None:
        """Flush and print the totals."""


def check_shift(last: dt.date, shift_weeks: int, today: dt.date, speed: float = 1) -> None:
    """Raise JobError when the shift leads out of what the contract allows, or a replay's clicks ahead of now.

    At speed 1 a replay's clicks wait for their time; at another speed they do not, so the last day must be over.
    """
    moved, moves = last.toordinal() + 7 * shift_weeks, f"--shift-weeks {shift_weeks} moves {last}"
    if moved > (today + MAX_EVENT_AHEAD).toordinal():
        raise NonRetryableError(
            f"{moves} more than {MAX_EVENT_AHEAD.days} days ahead of today, {today}, "
            "where every click would go to quarantine: shift less"
        )
    if speed != 1 and moved >= today.toordinal():
        raise NonRetryableError(
            f"{moves} to today, {today}, or later, and at speed {speed:g} no click waits for its time: shift less"
        )
    if moved < MIN_TS.toordinal():
        raise NonRetryableError(
            f"{moves} to before {MIN_TS.date()}, where every click would go to quarantine: shift less far back"
        )


def send_new(
    sink: Sink, files: list[LogFile], last: dt.date, shift_weeks: int, until: dt.datetime | None = None
) -> None:
    """Of these files, the whole log until `last`, send the days that Kafka was never given, and print which.

    This includes the days of a file that has grown since. A day without a file is a warning, not an error.
    """
    given = sink.given(shift_weeks * WEEK_MS)
    days = {day: LogFile(file.path, (day,)) for file in files for day in file.days}
    new = [day for day, file in sorted(days.items()) if (file.stem, day, file.path.stat().st_size) not in given]
    known = days.keys() | {day for _, day, _ in given}
    if missing := gaps(known, min(known), last):
        say(f"warning: no log of {spans_text(missing)}: put it there, and the next run sends it")
    say(f"sends the days up to {last} that are not in Kafka yet: {spans_text(spans_of(new)) or 'nothing'}")
    send_batch(sink, [days[day] for day in new], [], shift_weeks, until)


def send_batch(
    sink: Sink, files: list[LogFile], missing: list[Span], shift_weeks: int, until: dt.datetime | None = None
) -> None:
    """Send every line of these files; then raise JobError if a day had no file or no line, or a file was unreadable.

    With `until`, the first line of a file that happens then or later, and all behind it, are left to another run.
    """
    wrong: list[JobError] = []
    if missing:  # it may still arrive
        wrong.append(JobError(f"{spans_text(missing)} has no file"))
    for file in files:
        read = Counter(dict.fromkeys(file.days, 0))
        try:
            _send_file(sink, file, shift_weeks * WEEK_MS, read, until)
        except LogFileError as error:
            wrong.append(error)
            if isinstance(error, BrokenFileError):  # nothing more can be read from it
                sink.end_file(file.end)
        else:
            wrong += map(NonRetryableError, _empty_days(file, read))
        for day, count in sorted(read.items()):
            say(f"{day}: read {count} lines of {file.path.name}; {sink.acknowledged} sent and acknowledged in all")
    sink.finish(sum(len(file.days) for file in files))
    if wrong:
        is_final = any(isinstance(error, NonRetryableError) for error in wrong)
        kind = NonRetryableError if is_final else JobError
        raise kind(f"{'; '.join(map(str, wrong))}: the rest is in Kafka; fix this, then send these days again")


def _send_file(sink: Sink, file: LogFile, shift_ms: int, read: Counter[dt.date], until: dt.datetime | None) -> None:
    for day, lines in _blocks_left(sink, file, shift_ms, read):
        due = _happened(lines, day, shift_ms, until) if until else len(lines)
        sink.send(lines[:due], shift_ms)
        if due < len(lines):
            say(f"{day}: leaves clicks from {until:%Y-%m-%d %H:%M:%S} on to a later run")
            return


def _happened(lines: Sequence[bytes], day: dt.date, shift_ms: int, until: dt.datetime) -> int:
    """How many of these lines come before the first one that happens at `until` or later."""
    events = (_event_seconds(line, day, shift_ms) for line in lines)
    later = (number for number, event in enumerate(events) if event is not None and event >= until.timestamp())
    return next(later, len(lines))


def _blocks_left(
    sink: Sink, file: LogFile, shift_ms: int, read: Counter[dt.date]
) -> Iterator[tuple[dt.date, Sequence[bytes]]]:
    """The lines that are not stored yet, with their days; `read` counts the stored ones too."""
    already = sink.resume(file, shift_ms)
    for day, lines in file.blocks():
        read[day] += len(lines)
        if left := lines[already:]:
            yield day, left
        already = max(0, already - len(lines))
    sink.end_file(file.end)


def _empty_days(file: LogFile, read: Counter[dt.date]) -> Iterable[str]:
    return [
        f"{day} has no line in {file.path} (a day without clicks is implausible: check the web server)"
        for day in file.days
        if not read[day]
    ]


def weeks_to_today(first: dt.date, today: dt.date) -> int:
    """Whole weeks that move `first` to the latest day of its weekday that is not after `today`."""
    return (today - first).days // 7


def weeks_to_now(first: dt.date, last: dt.date, speed: float, today: dt.date) -> int:
    """Whole weeks that move a replay of these days close to `today`, without a click ahead of its sending.

    At speed 1 each click waits for its time, so the first day may be today. Another speed has no such wait: the last
    day is yesterday at the latest.
    """
    return weeks_to_today(first if speed == 1 else last + dt.timedelta(days=1), today)


@dataclass
class Pace:
    """When a click is due, in seconds since 1970.

    At speed 1 a click is due at its event_ts, so those before now are due at once. At another speed the replay starts
    with its first click, when that is read, and only the sending is faster or slower: event_ts stay as they are.
    """

    speed: float
    started: float = 0.0
    origin: float | None = None  # event time that is due at `started`

    def due(self, event: float, day_start: float, now: float) -> float:
        """When to send a click of this event time, in a log whose day starts at `day_start` (event time too)."""
        if self.origin is None:
            self.started = now
            # A log may begin with a click that is days late; starting from that one would mean a long wait.
            self.origin = now if self.speed == 1 else max(event, day_start)
        return self.started + (event - self.origin) / self.speed


class TimeIsOver(Exception):  # noqa: N818 (nothing is wrong)
    """The replay's time is over."""


class Replay:
    """Sends clicks when they are due, moved by whole weeks."""

    def __init__(self, sink: Sink, weeks: int, pace: Pace, end: float, clock: Callable[[], float]) -> None:
        """`end` is the time of `clock` after which no click is sent."""
        self.days: set[dt.date] = set()
        self._sink, self._pace, self._end, self._clock = sink, pace, end, clock
        self._shift_ms = weeks * WEEK_MS
        self._due: list[bytes] = []
        self._shown = clock()

    def send(self, day: dt.date, lines: Sequence[bytes]) -> None:
        """Send lines of this day, those that are due together at once. Raises TimeIsOver."""
        try:
            for line in lines:
                self._wait_for(line, day)
                self._due.append(line)
                self.days.add(day)
        except TimeIsOver:
            self._send_due(day)
            raise
        self._send_due(day)

    def _wait_for(self, line: bytes, day: dt.date) -> None:
        event = _event_seconds(line, day, self._shift_ms)
        due = now = self._clock()
        if event is not None:
            due = self._pace.due(event, _start(day) + self._shift_ms / 1000, now)
        if max(due, now) > self._end:
            raise TimeIsOver
        if due > now:
            self._send_due(day)
            self._sink.wait(max(0.0, due - self._clock()))

    def _send_due(self, day: dt.date) -> None:
        lines, self._due = self._due, []
        self._sink.send(lines, self._shift_ms)
        if (now := self._clock()) - self._shown >= PROGRESS_SECONDS:
            self._shown = now
            say(f"{day}: read and sent {self._sink.sent} lines, {self._sink.acknowledged} acknowledged")


def send_realtime(
    sink: Sink,
    files: list[LogFile],
    speed: float,
    run_seconds: float,
    weeks: int | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Replay these files, moved by so many weeks or else close to today, until their end or `run_seconds` are over.

    A line without a plausible date goes with the line before it. Raises JobError when a day had no line.
    """
    started = clock()
    first, last = files[0].days[0], files[-1].days[-1]
    if weeks is None:
        weeks = weeks_to_now(first, last, speed, dt.datetime.fromtimestamp(started, dt.UTC).date())
    shift = dt.timedelta(weeks=weeks)
    say(f"replays {first} to {last} as {first + shift} to {last + shift} ({weeks} weeks later) at speed {speed:g}")
    replay = Replay(sink, weeks, Pace(speed), started + run_seconds, clock)
    with suppress(TimeIsOver):
        _replay_all(sink, replay, files, weeks * WEEK_MS)
    sink.finish(len(replay.days))


def _replay_all(sink: Sink, replay: Replay, files: list[LogFile], shift_ms: int) -> None:
    for file in files:
        read: Counter[dt.date] = Counter()
        for day, lines in _blocks_left(sink, file, shift_ms, read):
            replay.send(day, lines)
        if empty := list(_empty_days(file, read)):
            sink.finish(len(replay.days))
            raise NonRetryableError(f"{'; '.join(empty)}: the days before it are in Kafka")


def _event_seconds(line: bytes, day: dt.date, shift_ms: int) -> float | None:
    """event_ts in seconds since 1970, or None when the date is not plausible in the log of that day."""
    source = source_ms(line)
    if source is None or not -LATE_SECONDS < source / 1000 - _start(day) < DAY_SECONDS + EARLY_SECONDS:
        return None
    return (source + shift_ms) / 1000


@cache
def _start(day: dt.date) -> float:
    return dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()
