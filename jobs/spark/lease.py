"""A lease: the right to write one place of the lake, kept beside the data, where every host sees it.

Its states are files `_writer/<number>`, each made only if it is not there yet: who makes the next number holds the
lease or has renewed it, so that taking, renewing and taking over are one atomic step, on a shared folder and on S3.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from jobs.cli import JobError
from jobs.spark.lease_files import Files

EXPIRES_S: Final = 60.0  # after the last renewal; the hosts' clocks agree to a few seconds
RENEW_S: Final = 10.0
MARGIN_S: Final = 20.0  # a holder that could not renew gives up this much before it may be taken over
_KEEP: Final = 8  # a listing that races with renewals still shows one of these


@dataclass(frozen=True)
class State:
    """The content of one file: who holds the lease since when, as it was `renewed` (epoch seconds)."""

    token: str
    holder: str
    process: str
    renewed: float
    released: bool = False

    def is_free(self) -> bool:
        """Whether another may take the lease: it was given back, it ran out, or its process on this host is gone."""
        return self.released or abs(time.time() - self.renewed) > EXPIRES_S or _is_gone(self.process)


def state_of(job: str, pid: int) -> State:
    """A new holder: the process `pid` of this host, which writes for `job`."""
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
    _renewed: float = field(default=0.0, init=False)  # of the monotonic clock
    _lost: bool = field(default=False, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def take(self) -> None:
        """Take it, and keep it until `release`. JobError when another one holds it."""
        while True:
            number, newest = self._newest()
            if newest and not newest.is_free():
                raise JobError(
                    f"{self.name} is being written by {newest.holder}: wait until it ends, or end it; a killed one's "
                    f"lease runs out after {EXPIRES_S:.0f} s"
                )
            if self._make(number + 1, self.state):
                break
        threading.Thread(target=self._keep_renewing, name=f"lease of {self.name}", daemon=True).start()

    def fence(self) -> None:
        """Right before a commit: JobError unless nobody can have taken the lease over, nor can for a while."""
        with self._lock:
            if not self._lost and time.monotonic() - self._renewed > RENEW_S:
                self._renew()
            if self._lost:
                raise self.loss

    @property
    def is_lost(self) -> bool:
        """Whether another may hold it by now."""
        return self._lost

    @property
    def loss(self) -> JobError:
        """What to raise then."""
        return JobError(f"{self.name}: another job may write it, for this one hung too long; run it again")

    def release(self) -> None:
        """Give it back, so that the next one need not wait."""
        self._ended.set()
        with self._lock:
            if not self._lost and self._make(self._number + 1, replace(self.state, released=True)):
                self._clear(self._number)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    self._renew()
                except OSError:  # the storage does not answer: there is time to try again
                    self._lost = time.monotonic() - self._renewed > EXPIRES_S - MARGIN_S
                if self._lost:
                    self.on_loss()
                    return

    def _renew(self) -> None:
        self._lost = not self._make(self._number + 1, self.state)

    def _make(self, number: int, state: State) -> bool:
        """Whether this state is now the newest."""
        started = time.monotonic()
        content = json.dumps(asdict(replace(state, renewed=time.time()))).encode()
        if not self.files.create(f"{number:012}", content):
            return False
        if max(self._numbers()) > number:  # it was long gone, and its file deleted
            self.files.delete(f"{number:012}")
            return False
        self._number, self._renewed = number, started
        self._clear(number - _KEEP)
        return True

    def _newest(self) -> tuple[int, State | None]:
        while numbers := self._numbers():
            content = self.files.read(f"{max(numbers):012}")
            if content is not None:
                return max(numbers), _state(content)
        return 0, None

    def _numbers(self) -> list[int]:
        return [int(name) for name in self.files.names() if name.isdecimal()]

    def _clear(self, before: int) -> None:
        for number in self._numbers():
            if number < before:
                self.files.delete(f"{number:012}")


def _state(content: bytes) -> State:
    try:
        return State(**json.loads(content))
    except (ValueError, TypeError):  # files are made whole: only a power cut leaves half of one
        return State("", "", "", 0.0, released=True)


def _identity(pid: int) -> str:
    """The process among all of all time, `<boot> <pid namespace> <pid> <start>`; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {pid} {_start(pid)}"
    except OSError:
        return ""


def _is_gone(process: str) -> bool:
    """Whether it certainly runs no more: it was a process of this host that is not there now."""
    if not process:
        return False
    pid = int(process.split()[2])
    here = _identity(os.getpid()).split()[:2]
    if process.split()[:2] != here:
        return False
    try:
        return _start(pid) != process.split()[3]
    except FileNotFoundError:
        return True


def _start(pid: int) -> str:
    """When the process started, in ticks since boot; `dead` for one that only waits to be reaped."""
    state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return "dead" if state in "ZX" else rest[18]
