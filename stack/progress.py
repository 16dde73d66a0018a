"""A line for each part as it starts and ends; colour only on a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from stack.errors import StackError

GREEN, RED, YELLOW, DIM = "32", "31", "33", "2"


class Progress:
    """Reports the steps of a command, which may run in parallel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def step(self, part: str, work: Callable[[], str], doing: str = "starting…") -> bool:
        """Do one step; its return value describes the outcome. False if it failed, after showing the reason."""
        started = time.monotonic()
        self.line(part, doing, DIM)
        try:
            outcome = work()
        except StackError as error:
            self.line(part, f"FAILED after {_seconds(started)}: {error}", RED)
            return False
        self.line(part, f"ready in {_seconds(started)}  {outcome}".rstrip(), GREEN)
        return True

    def saying(self, part: str) -> Callable[[str], None]:
        """What a long step of `part` calls to report what it is doing."""
        return lambda text: self.line(part, text, DIM)

    def warn(self, part: str, text: str) -> None:
        """Something that must not be overlooked."""
        self.line(part, text, YELLOW)

    def line(self, part: str, text: str, colour: str = "") -> None:
        """One line, never mixed with another's."""
        with self._lock:
            print(f"  {part:14} {self._painted(text, colour)}", flush=True)  # noqa: T201

    def _painted(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour and colour else text


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.1f} s"
