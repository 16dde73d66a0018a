"""Sets of days: consecutive ones, and missing ones. Standard library only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

Span = tuple[dt.date, dt.date]  # the days from the first to the last, both included


def days_between(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """The days from the first to the last, both included."""
    return (first + dt.timedelta(days=number) for number in range((last - first).days + 1))


def gaps(days: Iterable[dt.date], first: dt.date, last: dt.date) -> list[Span]:
    """The days from `first` to `last` that are missing among these, however far apart the two are."""
    found = []
    for day in sorted(day for day in days if first <= day <= last):
        if day > first:
            found.append((first, day - dt.timedelta(days=1)))
        if day == last:
            return found
        first = day + dt.timedelta(days=1)
    return [*found, (first, last)]


def spans_of(days: Iterable[dt.date]) -> list[Span]:
    """These days as spans of consecutive days."""
    found: list[Span] = []
    for day in sorted(days):
        if found and day - found[-1][1] == dt.timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def spans_text(spans: Iterable[Span]) -> str:
    """The days as a message names them: `2020-10-01 to 2020-10-03, 2020-10-05`."""
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in spans)
