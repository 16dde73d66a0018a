"""The lines that a command reports its steps by."""

from __future__ import annotations

import time

import pytest

from stack.errors import StackError
from stack.progress import Progress


def test_a_failed_step_says_which_part_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # a busy machine needs longer

    def work() -> str:
        raise StackError("no room left")

    assert not Progress().step("kafka", work)
    assert "kafka          FAILED after 0.0 s: no room left" in capsys.readouterr().out


def test_there_is_no_colour_where_nobody_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert Progress().step("kafka", lambda: "127.0.0.1:1")
    assert "\033" not in capsys.readouterr().out
