"""What stands for Kafka and for the clock where a producer is tested without them, and lines of a log."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

from jobs.producer.log_files import LogFile, files_of
from jobs.producer.replay import send_batch

DAY = dt.date(2020, 10, 1)
NEXT = DAY + dt.timedelta(days=1)
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)  # a Monday


def line(moment: dt.datetime, session: str = "s" * 24) -> bytes:
    """A log line of that moment."""
    return json.dumps({"DateCreated": f"/Date({int(moment.timestamp() * 1000)})/", "SessionId": session}).encode()


def at(hour: int, minute: int = 0, day: dt.date = DAY) -> dt.datetime:
    """A moment of the day."""
    return dt.datetime.combine(day, dt.time(hour, minute), dt.UTC)


class Clock:
    """A clock that moves only when somebody waits, and by `step` each time it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = NOW.timestamp()
        self.step = step

    def time(self) -> float:
        """Seconds since 1970."""
        self.now += self.step
        return self.now


class Recorder:
    """Stands for Kafka: notes each line, its shift and the second of the run."""

    def __init__(self, clock: Clock | None = None, already: int = 0) -> None:
        self.clock = clock or Clock()
        self.already = already
        self.files: list[tuple[str, int]] = []
        self.lines: list[bytes] = []
        self.shifts: set[int] = set()
        self.seconds: list[float] = []
        self.sent = self.acknowledged = 0
        self.finished: int | None = None
        self.ended: list[int] = []
        self.known: set[tuple[str, dt.date, int]] = set()

    def given(self, shift_ms: int) -> set[tuple[str, dt.date, int]]:
        """As Sender.given."""
        assert shift_ms == 0
        return self.known

    def end_file(self, size: int) -> None:
        """As Sender.end_file."""
        self.ended.append(size)

    def resume(self, file: LogFile, shift_ms: int) -> int:
        """As Sender.resume."""
        self.flush()
        self.files.append((file.path.name, shift_ms))
        return self.already

    def send(self, lines: Sequence[bytes], shift_ms: int) -> None:
        """As Sender.send."""
        self.lines += lines
        self.shifts |= {shift_ms for _ in lines}
        self.seconds += [round(self.clock.now - NOW.timestamp(), 3) for _ in lines]
        self.sent += len(lines)

    def wait(self, seconds: float) -> None:
        """As Sender.wait."""
        self.flush()
        self.clock.now += seconds

    def flush(self) -> None:
        """As Sender.flush."""
        self.acknowledged = self.sent

    def finish(self, days: int) -> None:
        """As Sender.finish."""
        self.flush()
        self.finished = days


def batch(folder: Path, first: dt.date = DAY, last: dt.date = DAY, shift_weeks: int = 0) -> Recorder:
    """What a batch of these days sends."""
    recorder = Recorder()
    send_batch(recorder, *files_of(folder, first, last), shift_weeks)
    return recorder
