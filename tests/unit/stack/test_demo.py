"""The demo's own logic: what it counts, what it remembers."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from jobs.days import days_between
from stack.demo import Memory, Wanted, clicks, generate, moments
from stack.errors import StackError
from stack.stack import Stack
from tests.unit.stack.conftest import NOW


def test_what_is_wanted_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAYS", "SCALE", "STORY"):
        monkeypatch.delenv(name, raising=False)
    assert Wanted.from_environment() == Wanted(42, 1, story=True)
    for name, value in (("DAYS", "30"), ("SCALE", "0.5"), ("STORY", "0")):
        monkeypatch.setenv(name, value)
    assert Wanted.from_environment() == Wanted(30, 0.5, story=False)
    for wrong in ("0", "three"):
        monkeypatch.setenv("DAYS", wrong)
        with pytest.raises(StackError, match="DAYS must be"):
            Wanted.from_environment()


def test_a_stack_keeps_the_shift_that_moves_the_logs_day_to_the_day_on_which_it_is_new(stack: Stack) -> None:
    memory = Memory.begin(stack, Wanted(15, 1, story=True), NOW)
    days = memory.days(NOW, 15)
    assert (days.last, days.coming, days.first) == tuple(dt.date(2020, 10, day) for day in (17, 18, 3))
    assert days.last + dt.timedelta(milliseconds=days.shift_ms) == NOW.date()
    assert (memory.story, days.story) == ("2020-10-17T14:33",) * 2
    assert days.until == NOW.replace(microsecond=0)
    memory.sent = str(days.last)
    memory.save(stack)
    later = NOW + dt.timedelta(days=33)
    again = Memory.begin(stack, Wanted(15, 1, story=True), later)
    assert again == memory
    assert again.days(later, 15).first == days.last, "no day is left out that may not be sent to its end"
    assert again.days(later).last == days.last + dt.timedelta(days=33)
    assert again.days(later, 60).first == days.last - dt.timedelta(days=26)


def test_a_stack_of_another_log_is_refused(stack: Stack) -> None:
    Memory.begin(stack, Wanted(3, 1, story=False), NOW)
    for other, name in ((Wanted(3, 2, story=False), "SCALE=1"), (Wanted(3, 1, story=True), "STORY=0")):
        with pytest.raises(StackError, match=f"holds a log of {name}: run `make clean`"):
            Memory.begin(stack, other, NOW)
    (stack.home.folder() / "demo.json").write_text(json.dumps({"scale": 1, "replays": {}}))
    with pytest.raises(StackError, match="earlier version's demo: run `make clean`"):
        Memory.begin(stack, Wanted(3, 1, story=False), NOW)


def test_clicks_are_counted_in_todays_time_and_the_coming_day_is_there(stack: Stack) -> None:
    days = Memory.begin(stack, Wanted(2, 0.02, story=False), NOW).days(NOW, 2)
    generate(stack, days)
    start = dt.datetime.combine(NOW.date(), dt.time(), dt.UTC)
    with (stack.log_folder / f"{days.last}.json").open("r+b") as file:
        first = file.readline()
        file.seek(0, 2)
        file.write(first)  # repeated: one click
    happened = moments(stack, days)
    whole = [clicks(happened, start + dt.timedelta(n), start + dt.timedelta(n + 1)) for n in (-1, 0, 1)]
    names = [f"{day}.json" for day in days_between(days.first, days.coming)]
    assert whole == [len(set((stack.log_folder / name).read_bytes().splitlines())) for name in names]
    assert 0 < clicks(happened, start, days.until) < whole[1]
