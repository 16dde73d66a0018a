"""A job's progress lines."""

from __future__ import annotations

import datetime as dt


def say(message: str) -> None:
    """One progress line, with the UTC time."""
    print(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {message}", flush=True)  # noqa: T201
