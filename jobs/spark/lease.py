"""A lease: the right to write to one place of the lake, stored beside the data, where every host sees it.

Its states are files `_writer/<number>`, each created only if absent: whoever creates the next number holds the
lease or has renewed it, so that taking, renewing and taking over are one atomic step, on a shared folder and on S3.
Clocks of different hosts are never compared: to take over another host's lease, a job waits, by its own clock, to see
renewed.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from jobs.console import say
from jobs.errors import JobError
from jobs.spark.lease_files import Files

EXPIRES_S: Final = 60.0  # without a renewal
RENEW_S: Final = 10.0
LOOK_S: Final = 1.0  # how often a waiting job checks for a renewal
MARGIN_S: Final = 20.0  # a holder that could not renew gives up this long before it may be taken over
_KEEP: Final = 8  # a listing that races with renewals still contains one of these
_NUMBER: Final = re.compile("[0-9]{12}")


@dataclass(frozen=True)
class State:
    """The content of one file: who holds the lease, and when (epoch seconds, for people) it was `renewed`."""

    token: str = ""
    holder: str = "an unknown job"
    process: str = ""
    renewed: float = 0.0
    released: bool = False

    @classmethod
    def of(cls, content: bytes) -> State:
        """Read a file of any version of this code; a corrupt one stands for a holder that must be waited for."""
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, RecursionError):
            return cls()

    def is_free(self) -> bool:
        """Whether another may take the lease at once: it was released, or its process on this host is gone."""
        return self.released or _runs_here(self.process) is False


def state_of(job: str, pid: int) -> State:
    """A new holder: process `pid` of this host, which writes for `job`."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    holder = f"{job}, process {pid} of {socket.gethostname()}, since {since}"
    return State(uuid.uuid4().hex, holder, _identity(pid), time.time())


@dataclass
class Lease:
    """The lease of `name`, whose states are in `files`; `on_loss` is called when another one has taken it over."""

    name: str
    files: Files
    state: State
    on_loss: Callable[[], object] = lambda: None
    _number: int = field(default=0, init=False)
    _renewed: float = field(default=0.0, init=False)
    _lost: bool = field(default=False, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def take(self) -> None:
        """Take it, and keep it until `release`. JobError if another holds it.

        A lease of a process on another host is free after EXPIRES_S without a renewal; that of a living
        process of this host never is.
        """
        number, newest = self._newest()
        while not self._is_left(number, newest) or not self._make(number + 1, self.state):
            before, (number, newest) = number, self._newest()
            if number > before and newest and not newest.is_free():
                raise self._refusal(newest)
        threading.Thread(target=self._keep_renewing, name=f"lease of {self.name}", daemon=True).start()

    def _is_left(self, number: int, newest: State | None) -> bool:
        """Whether nobody holds it, after a wait if necessary; JobError for a living process of this host."""
        if newest and _runs_here(newest.process) and not newest.released:
            raise self._refusal(newest)
        if newest and not newest.is_free():
            say(f"{self.name} was being written by {newest.holder}: waits {EXPIRES_S:g} s to see whether it still is")
        since = _clock()
        while newest and not newest.is_free() and _clock() - since <= EXPIRES_S:
            time.sleep(LOOK_S)
            if max(self._numbers(), default=0) != number:
                return False
        return True

    def _refusal(self, newest: State) -> JobError:
        return JobError(
            f"{self.name} is being written by {newest.holder}: wait until it ends, or end it; if it was killed, its "
            f"lease expires after {EXPIRES_S:.0f} s"
        )

    def fence(self) -> None:
        """Call directly before a commit: JobError if another job has taken over the lease.

        It is renewed regardless of the clock: a host that was suspended does not know for how long.
        """
        with self._lock:
            if not self._lost:
                self._renew()
            if self._lost:
                raise self.loss

    @property
    def is_lost(self) -> bool:
        """Whether another may hold it by now."""
        return self._lost

    @property
    def loss(self) -> JobError:
        """The error to raise when the lease is lost."""
        return JobError(f"{self.name}: another job may be writing it, since this one hung for too long; run it again")

    def release(self) -> None:
        """Release it, so that the next job need not wait."""
        self._ended.set()
        with self._lock:
            if not self._lost and self._make(self._number + 1, replace(self.state, released=True)):
                self._clear(self._numbers(), self._number)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    self._renew()
                except OSError:  # the storage does not answer: there is time for a retry
                    self._lost = _clock() - self._renewed > EXPIRES_S - MARGIN_S
                if self._lost:
                    self.on_loss()
                    return

    def _renew(self) -> None:
        self._lost = not self._make(self._number + 1, self.state)

    def _make(self, number: int, state: State) -> bool:
        """Whether this state is now the newest."""
        started = _clock()
        content = msgspec.json.encode(replace(state, renewed=time.time()))
        if not self.files.create(f"{number:012}", content):
            return False
        self._number = number  # even if the storage then stops answering: this number is ours
        numbers = self._numbers()
        if max(numbers) > number:  # it expired long ago, and its file was deleted
            self.files.delete(f"{number:012}")
            return False
        self._renewed = started
        self._clear(numbers, number - _KEEP)
        return True

    def _newest(self) -> tuple[int, State | None]:
        while numbers := self._numbers():
            content = self.files.read(f"{max(numbers):012}")
            if content is not None:
                return max(numbers), State.of(content)
        return 0, None

    def _numbers(self) -> list[int]:
        return [int(name) for name in self.files.names() if _NUMBER.fullmatch(name)]

    def _clear(self, numbers: Iterable[int], before: int) -> None:
        for number in numbers:
            if number < before:
                self.files.delete(f"{number:012}")


def _clock() -> float:
    """Seconds of a clock that keeps running while the host is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _identity(pid: int) -> str:
    """A unique id of the process, `<boot> <pid namespace> <pid> <start>`; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {pid} {_start(pid)}"
    except OSError:
        return ""


def _runs_here(process: str) -> bool | None:
    """Whether it still runs on this host; None for a process of another host or an unknown one."""
    words = process.split()
    if len(words) != 4 or words[:2] != _identity(os.getpid()).split()[:2] or not words[2].isdecimal():
        return None
    try:
        return _start(int(words[2])) == words[3]
    except (FileNotFoundError, ProcessLookupError):  # the second if it ends while its file is read
        return False


def _start(pid: int) -> str:
    """When the process started, in ticks since boot; `dead` for a zombie."""
    state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return "dead" if state in "ZX" else rest[18]
