"""Probes: questions to the outside world, asked concurrently, each with a time limit and a one-line answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

ANSWER_SECONDS = 8  # what a client library may wait for one answer; less than a probe's limit, so that it can say more
LIMIT_SECONDS = 10.0


class Failure(Exception):  # noqa: N818 (what a probe found, not a fault of ours)
    """What is wrong, and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Caution(Failure):
    """What works, but should be changed."""


@dataclass(frozen=True)
class Probe:
    """`run` returns what was found or raises Failure; `fix` is what to do when it does not return within `limit` s."""

    what: str
    run: Callable[[], str]
    fix: str
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True)
class Outcome:
    """The answer to one probe: `found` is what there is or what is wrong, `fix` is empty on success.

    `ok` with a fix is a warning.
    """

    what: str
    ok: bool
    found: str
    fix: str
    seconds: float

    def __str__(self) -> str:
        status = "failed" if not self.ok else "warn  " if self.fix else "ok    "
        fix = f"; {self.fix}" if self.fix else ""
        return f"{status} {self.seconds:5.1f} s  {self.what}: {self.found}{fix}"


class Once(Generic[T]):
    """What several probes need, such as a login: created by the first that asks, while the others wait."""

    def __init__(self, what: str, make: Callable[[], T]) -> None:
        self.what = what
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []
        self._failure: Failure | None = None

    def own(self) -> T:
        """For the probe of the thing itself: the thing, or the Failure that says why there is none."""
        with self._lock:
            if self._failure:
                raise self._failure
            if not self._made:
                try:
                    self._made.append(self._make())
                except Failure as failure:
                    self._failure = failure
                    raise
            return self._made[0]

    def needed(self) -> T:
        """For the probes that need it: the thing, or a Failure that leads to the line that says why."""
        try:
            return self.own()
        except Failure:
            raise Failure(f"not tried, since {self.what} failed", f"fix {self.what} first") from None


def run_all(probes: Sequence[Probe]) -> Iterator[Outcome]:
    """Run all probes concurrently; yields the outcomes in the order of the probes, each as soon as possible.

    A probe that hangs is left to its thread, which ends with the process.
    """
    running = [_Running(probe) for probe in probes]
    for one in running:
        yield one.outcome()


class _Running:
    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.started = time.monotonic()
        self._outcome: Outcome | None = None
        # Not a pool: the process would wait at its end for the threads of a pool, also for one that hangs.
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def outcome(self) -> Outcome:
        self._thread.join(max(0.0, self.started + self.probe.limit - time.monotonic()))
        return self._outcome or self._answer(False, f"no answer within {self.probe.limit:.0f} s", self.probe.fix)

    def _ask(self) -> None:
        try:
            self._outcome = self._answer(True, self.probe.run(), "")
        except Failure as failure:
            self._outcome = self._answer(isinstance(failure, Caution), str(failure), failure.fix)
        except Exception as error:  # noqa: BLE001 (a client library may fail in any way; the line says how)
            self._outcome = self._answer(False, f"{type(error).__name__}: {error}", self.probe.fix)

    def _answer(self, ok: bool, found: str, fix: str) -> Outcome:
        seconds = round(time.monotonic() - self.started, 1)
        return Outcome(self.probe.what, ok, " ".join(found.split()), fix, seconds)
