"""What the `schedule` of a pipeline holds: a cron expression, assets, both, or nothing."""

from __future__ import annotations

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
