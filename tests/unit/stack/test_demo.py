"""The demo's own logic: what it counts, what it remembers."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from stack import follow as following
from stack.demo import Days, Memory, clicks_of, replay_date
from stack.errors import StackError
from stack.stack import Stack


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between two looks."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0)


def test_days_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYS", "30")
    monkeypatch.setenv("SCALE", "0.5")
    assert Days.from_environment() == Days(30, 0.5)
    assert Days(30, 1).last == dt.date(2020, 10, 30)
    for wrong in ("0", "three"):
        monkeypatch.setenv("DAYS", wrong)
        with pytest.raises(StackError, match="DAYS must be"):
            Days.from_environment()


def test_a_replay_falls_on_the_same_weekday_of_the_last_seven_days() -> None:
    today = dt.datetime.now(dt.UTC).date()
    for number in range(7):
        day = dt.date(2020, 10, 1) + dt.timedelta(days=number)
        assert replay_date(day).weekday() == day.weekday()
        assert dt.timedelta() < today - replay_date(day) <= dt.timedelta(days=7)


def test_memory_adds_up_replays_of_one_date_and_refuses_another_scale(tmp_path: Path) -> None:
    stack = cast("Stack", SimpleNamespace(home=SimpleNamespace(folder=lambda: tmp_path), log_folder=tmp_path))
    (tmp_path / "truth").mkdir()
    date = dt.date(2026, 11, 21)
    for day, clicks in ((dt.date(2020, 10, 3), 5), (dt.date(2020, 10, 10), 7), (dt.date(2020, 10, 3), 5)):
        (tmp_path / "truth" / f"{day}.json").write_text(json.dumps({"clicks": clicks}))
        Memory.of(stack).replays_on(date, day)
    assert clicks_of(Memory.of(stack).replayed(stack, date)) == 12
    Memory.of(stack).require_scale(1)
    Memory.of(stack).require_scale(1)
    with pytest.raises(StackError, match="make clean"):
        Memory.of(stack).require_scale(2)
