"""What the `schedule` of a pipeline holds: a cron expression, assets, both, or nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline_config.reader import KeyPath

CONDITIONS = ("any", "all")


def clock(schedule: Any) -> str | None:
    """The cron expression or preset of a schedule."""
    if isinstance(schedule, dict):
        schedule = schedule.get("cron")
    return schedule if isinstance(schedule, str) else None


def assets(schedule: Any) -> Iterator[tuple[KeyPath, str]]:
    """Every asset of a schedule with its place in it."""
    inside: Iterable[tuple[str | int, Any]]
    if isinstance(schedule, dict):
        inside = [(key, schedule[key]) for key in CONDITIONS if key in schedule]
    else:
        inside = enumerate(schedule) if isinstance(schedule, list) else ()
    for key, item in inside:
        yield from [((key,), item)] if isinstance(item, str) else (((key, *path), uri) for path, uri in assets(item))


def time_of_day(cron: str) -> dt.timedelta | None:
    """The one time of day at which a cron expression or preset fires, as the time since midnight."""
    minute, hour = ("0", "0") if cron.startswith("@") else [*cron.split(), "", ""][:2]
    if cron in ("@hourly", "@once", "@continuous") or not (minute.isdecimal() and hour.isdecimal()):
        return None
    return dt.timedelta(hours=int(hour), minutes=int(minute))


def until(cron: str, by: str) -> dt.timedelta:
    """The time from when the expression fires to the next "05:00"."""
    hour, minute = map(int, by.split(":"))
    wait = (dt.timedelta(hours=hour, minutes=minute) - (time_of_day(cron) or dt.timedelta())) % dt.timedelta(days=1)
    return wait or dt.timedelta(days=1)
