"""When a schedule fires, as far as a deadline asks."""

from __future__ import annotations

import datetime as dt

import pytest

from pipeline_config.schedules import time_of_day, until


@pytest.mark.parametrize(
    ("cron", "by", "minutes"),
    [
        ("0 0 * * *", "05:00", 300),
        ("30 22 * * 1", "05:00", 390),
        ("0 5 * * *", "05:00", 1440),
        ("@daily", "00:15", 15),
        ("@monthly", "12:00", 720),
    ],
)
def test_a_time_of_the_day_is_the_next_one_after_the_schedule(cron: str, by: str, minutes: int) -> None:
    assert until(cron, by) == dt.timedelta(minutes=minutes)


@pytest.mark.parametrize("cron", ["*/5 0 * * *", "0 */6 * * *", "0 1,2 * * *", "@hourly", "@continuous"])
def test_what_fires_at_several_times_of_the_day_has_no_time_of_it(cron: str) -> None:
    assert time_of_day(cron) is None
