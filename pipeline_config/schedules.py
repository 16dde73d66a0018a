"""What the `schedule` of a pipeline holds: a cron expression, assets, or nothing."""

from __future__ import annotations

from typing import Any


def clock(schedule: Any) -> str | None:
    """The cron expression or preset of a schedule."""
    return schedule if isinstance(schedule, str) else None
