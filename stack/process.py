"""Our own processes: each started in its own session, remembered by pid and start time, stopped with all descendants.

By /proc and not by psutil: `make install` starts a broker before there is any package, and the start time that psutil
reports moves with the system's clock, so that yesterday's daemon would not be recognized.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARKER = "STACK_PROCESS"
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Process:
    """A process as /proc tells it; pid and start time (clock ticks since boot) identify one process forever."""

    pid: int
    parent: int
    session: int
    started: int


class Daemon:
    """A long-running process that is remembered in `pid_file`, with all its descendants."""

    def __init__(self, pid_file: Path, log: Path) -> None:
        self.pid_file = pid_file
        self.log = log

    @property
    def pid(self) -> int | None:
        """The pid while this very process runs, else None, also if the pid was reused."""
        known = self._recorded()
        if known is None:
            return None
        _reap(known[0])
        process = read_process(known[0])
        return process.pid if process and process.started == known[1] else None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `command` in its own session; its output goes to the log (the last one is kept as .1)."""
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("wb") as log:
            child = subprocess.Popen(
                command,
                env={**environment, MARKER: str(self.pid_file)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _children[child.pid] = child  # kept, so that it can be reaped
        process = read_process(child.pid)
        self.pid_file.write_text(f"{child.pid} {process.started if process else 0}\n", encoding="ascii")

    def members(self) -> list[Process]:
        """The process and its descendants: by session, by inherited environment, by parent."""
        everyone = {process.pid: process for process in all_processes()}
        recorded = self._recorded()
        found = {pid for pid in everyone if _marker_of(pid) == str(self.pid_file)}
        if recorded:
            found |= _session_members(everyone.values(), *recorded)
        while more := {p.pid for p in everyone.values() if p.parent in found} - found:
            found |= more
        return [everyone[pid] for pid in sorted(found - {os.getpid()})]

    def stop(self, stop_signal: signal.Signals, limit: float) -> None:
        """Ask the process to end, wait `limit` seconds, then kill it and what is left of it. Idempotent."""
        before = self.members()
        root = self.pid
        if root:
            _send(root, stop_signal)
            wait_for_end([process for process in before if process.pid == root], limit)
        left = {process for process in [*before, *self.members()] if _alive(process)}
        for process in left:
            _send(process.pid, signal.SIGKILL)
        wait_for_end(left, limit)
        self.pid_file.unlink(missing_ok=True)

    def _recorded(self) -> tuple[int, int] | None:
        try:
            pid, started = self.pid_file.read_text(encoding="ascii").split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid), int(started)


def read_process(pid: int) -> Process | None:
    """One process from /proc; None if it is gone or a zombie."""
    try:
        # The name, in parentheses, may contain anything: the fields are counted after its end.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads = fields[0], int(fields[17])
    if state in "ZX" and threads <= 1:  # a killed process's other threads hold its files and ports a little longer
        return None
    return Process(pid, parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]))


def all_processes() -> list[Process]:
    """All running processes."""
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [process for pid in pids if (process := read_process(pid))]


def wait_for_end(processes: Iterable[Process], limit: float) -> None:
    """Wait until none of `processes` runs, at most `limit` seconds."""
    deadline = time.monotonic() + limit
    left = list(processes)
    while (left := [process for process in left if _alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)


def memory(processes: Iterable[Process]) -> int:
    """Bytes of memory (proportional set size: a shared page counts once in total) that `processes` hold.

    A program started by vfork has, for milliseconds, all memory of its parent, which then counts twice.
    """
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            continue  # it ended meanwhile, or belongs to another user
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _session_members(everyone: Iterable[Process], pid: int, started: int) -> set[int]:
    """The session that a process opened. A pid is not reused while its session lives, so a leader with another
    start time means that the pid, and the session with it, belong to someone else."""
    leader = read_process(pid)
    if leader and leader.started != started:
        return set()
    return {process.pid for process in everyone if process.session == pid and process.started >= started}


def _marker_of(pid: int) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None  # it ended, or belongs to another user
    prefix = f"{MARKER}=".encode()
    return next((item[len(prefix) :].decode() for item in environment.split(b"\0") if item.startswith(prefix)), None)


def _alive(process: Process) -> bool:
    _reap(process.pid)
    now = read_process(process.pid)
    return now is not None and now.started == process.started


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child and child.poll() is not None:
        del _children[pid]


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
