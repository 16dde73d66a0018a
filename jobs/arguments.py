"""Argument types of the jobs' options, for argparse; each reports a wrong value in one line."""

from __future__ import annotations

import argparse
import datetime as dt
from contextlib import suppress


def day(text: str) -> dt.date:
    """YYYY-MM-DD."""
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid day: write it as 2020-10-31") from None


def moment(text: str) -> dt.datetime:
    """YYYY-MM-DD, YYYY-MM-DDTHH:MM or YYYY-MM-DDTHH:MM:SS, in UTC."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        with suppress(ValueError):
            return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
    raise argparse.ArgumentTypeError(f"{text!r} is not a moment, write it as 2020-10-31 or 2020-10-31T08:00")


def moment_or_none(text: str) -> dt.datetime | None:
    """A moment, or None of an empty text."""
    return moment(text) if text else None


def day_or_none(text: str) -> dt.date | None:
    """YYYY-MM-DD, or None for an empty string."""
    return day(text) if text else None


def integer_or_none(text: str) -> int | None:
    """A whole number, also below 0, or None of an empty text."""
    try:
        return int(text) if text else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive_int(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole_number(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _number(text: str) -> float:
    """The number, or NaN, which is in no range, if it is not one."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def true_or_false(text: str) -> bool:
    """`true` or `false` in any case, as templates render them."""
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
