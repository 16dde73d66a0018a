"""Daemons: each in a session of its own, found again, stopped with all that came out of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from stack.process import Daemon, Process, memory, read_process

T = TypeVar("T")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is stopped at the end, whatever the test did."""
    daemon = Daemon(tmp_path / "sleeper.pid", tmp_path / "sleeper.log")
    yield daemon
    daemon.stop(signal.SIGKILL, 5)


def test_a_daemon_runs_in_a_session_of_its_own_and_is_found_again(daemon: Daemon) -> None:
    daemon.start(SLEEPER, os.environ)
    again = Daemon(daemon.pid_file, daemon.log)
    assert again.pid is not None
    process = read_process(again.pid)
    assert process is not None
    assert process.session == again.pid != os.getsid(0)
    assert memory([process]) > 0


def test_a_recycled_pid_is_not_ours(daemon: Daemon) -> None:
    with subprocess.Popen(SLEEPER, start_new_session=True) as stranger:
        daemon.pid_file.write_text(f"{stranger.pid} 1\n", encoding="ascii")
        assert daemon.pid is None
        assert daemon.members() == []
        daemon.stop(signal.SIGTERM, 1)
        assert stranger.poll() is None
        stranger.kill()


def test_stop_ends_what_the_daemon_started_also_in_another_session(daemon: Daemon) -> None:
    script = "sleep 60 & setsid sleep 60 & wait"
    daemon.start(["sh", "-c", script], os.environ)
    started = _wait_for(lambda: daemon.members() if len(daemon.members()) == 3 else [])
    daemon.stop(signal.SIGTERM, 5)
    assert [process for process in started if _runs(process)] == []
    assert not daemon.pid_file.exists()


def test_stop_finds_the_children_of_a_daemon_that_was_killed(daemon: Daemon) -> None:
    daemon.start(["sh", "-c", "setsid sleep 60 & wait"], os.environ)
    _wait_for(lambda: daemon.members() if len(daemon.members()) == 2 else [])
    root = daemon.pid
    assert root is not None
    os.kill(root, signal.SIGKILL)
    left = _wait_for(lambda: daemon.members() if daemon.pid is None else [])
    assert len(left) == 1
    daemon.stop(signal.SIGTERM, 5)
    assert not _runs(left[0])


def test_stop_kills_a_daemon_that_does_not_listen(daemon: Daemon) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    daemon.start([sys.executable, "-c", script], os.environ)
    _wait_for(lambda: [line for line in daemon.log.read_text(encoding="utf-8").split() if line == "deaf"])
    daemon.stop(signal.SIGTERM, 0.2)
    assert daemon.pid is None


def test_stop_is_idempotent(daemon: Daemon) -> None:
    daemon.stop(signal.SIGTERM, 1)
    daemon.stop(signal.SIGTERM, 1)
    assert daemon.pid is None


def _runs(process: Process) -> bool:
    now = read_process(process.pid)
    return now is not None and now.started == process.started


def _wait_for(find: Callable[[], list[T]], limit: float = 5) -> list[T]:
    deadline = time.monotonic() + limit
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found
