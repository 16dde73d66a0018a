"""The lease of a place of the lake: real processes, in a real folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.spark import lease as lease_module
from jobs.spark.lease import State, state_of
from jobs.spark.lease_files import LocalFiles
from tests.leases import abandoned, check_that_a_zombie_is_fenced, lease_in

PROCESSES = 8


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    """The files of a new lease."""
    return LocalFiles(tmp_path)


def _race(folder: Path, start: Barrier, end: Barrier, number: int) -> None:
    lease = lease_in(LocalFiles(folder), f"job {number}")
    start.wait()
    try:
        lease.take()
    except JobError as error:
        (folder / f"refused {number}").write_text(str(error), encoding="utf-8")
    else:
        (folder / f"won {number}").touch()
    end.wait()  # the winner must not give it back, or end, before all have tried


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is renewed, looked at and run out within less than a second."""
    for name, seconds in {"RENEW_S": 0.02, "LOOK_S": 0.02, "EXPIRES_S": 0.5}.items():
        monkeypatch.setattr(lease_module, name, seconds)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("before", ["nothing", "released", "left", "half a file"])
def test_of_many_that_race_one_wins_and_the_others_hear_its_name(
    files: LocalFiles, tmp_path: Path, before: str
) -> None:
    if before == "released":
        abandoned(files, released=True)
    if before == "left":
        abandoned(files)
    if before == "half a file":
        assert files.create(f"{7:012}", b'{"token": "')
    start, end = multiprocessing.Barrier(PROCESSES), multiprocessing.Barrier(PROCESSES)
    racers = [multiprocessing.Process(target=_race, args=(tmp_path, start, end, number)) for number in range(PROCESSES)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    won = [file.name.split()[1] for file in tmp_path.glob("won *")]
    refused = [file.read_text(encoding="utf-8") for file in tmp_path.glob("refused *")]
    assert len(won) == 1
    assert len(refused) == PROCESSES - 1
    assert all(f"written by job {won[0]}, process " in message for message in refused)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("clock_differs_s", [0, 3600, -3600])
def test_lease_of_another_host_is_refused_with_its_holder_until_it_is_not_renewed(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch, clock_differs_s: float
) -> None:
    holder = lease_in(files, "holder", elsewhere=True)
    holder.take()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + clock_differs_s)
    with pytest.raises(JobError, match="is being written by holder, process"):
        lease_in(files).take()
    with holder._lock:  # between two renewals
        holder._ended.set()  # its host dies
    began = time.monotonic()
    lease_in(files).take()
    assert time.monotonic() - began > lease_module.EXPIRES_S
    with pytest.raises(JobError, match="another job may be writing it"):
        holder.fence()


@pytest.mark.usefixtures("soon")
def test_living_holder_of_this_host_keeps_it_however_long_it_hangs(files: LocalFiles) -> None:
    holder = lease_in(files)
    holder.take()
    holder._ended.set()  # renews no more
    with pytest.raises(JobError, match="is being written by job, process"):
        lease_in(files).take()
    holder.fence()


def test_states_of_other_versions_are_read_as_far_as_they_are_known() -> None:
    assert State.of(b'{"holder": "next release", "comment": "new"}') == State(holder="next release")
    assert State.of(b'{"token": "') == State.of(b"5") == State.of(b'{"process": 5}') == State()
    assert State.of(b'{"comment": %b' % (b"[" * 5000)) == State()
    assert not State().is_free()


@pytest.mark.usefixtures("soon")
def test_storage_that_fails_after_a_renewal_costs_no_lease(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = lease_in(files)
    holder.take()
    holder._ended.set()  # the test renews
    with monkeypatch.context() as fails:
        fails.setattr(files, "names", lambda: (_ for _ in ()).throw(OSError("no answer")))
        with pytest.raises(OSError, match="no answer"):
            holder.fence()
    holder.fence()


@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError])
def test_a_holder_that_ends_while_it_is_looked_at_is_gone(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    state = state_of("job", os.getpid())
    monkeypatch.setattr(lease_module, "_identity", lambda _: state.process)
    monkeypatch.setattr(lease_module, "_start", lambda _: (_ for _ in ()).throw(error()))
    assert state.is_free()


def test_killed_holder_of_this_host_is_followed_at_once(files: LocalFiles) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        abandoned(files, process=state_of("job", child.pid).process)
        with pytest.raises(JobError):
            lease_in(files).take()
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet reaped
        lease_in(files).take()
    finally:
        child.kill()
        child.communicate()


def test_process_of_another_host_or_with_a_pid_used_again_is_told_apart(tmp_path: Path) -> None:
    boot, space, pid, start = state_of("job", os.getpid()).process.split()
    assert not State(process=f"another-boot {space} 999999999 {start}").is_free()
    abandoned(again := LocalFiles(tmp_path / "again"), process=f"{boot} {space} {pid} {int(start) - 1}")
    lease_in(again).take()


def test_released_lease_is_free_and_leaves_one_small_file(files: LocalFiles, tmp_path: Path) -> None:
    for _ in range(3):
        lease = lease_in(files)
        lease.take()
        lease.release()
    assert len(list(tmp_path.iterdir())) == 1


def test_renewals_keep_it_and_few_files(files: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.005)
    monkeypatch.setattr(lease_module, "EXPIRES_S", 0.5)
    lease = lease_in(files)
    lease.take()
    deadline = time.monotonic() + 1.5  # three times as long as it lasts without a renewal
    while time.monotonic() < deadline:
        with pytest.raises(JobError, match="is being written"):
            lease_in(files).take()
    lease.fence()
    assert len(list(tmp_path.glob("[0-9]*"))) <= 12
    lease.release()


def test_zombie_is_fenced(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_zombie_is_fenced(files, monkeypatch)


def test_lost_lease_is_noticed_at_the_next_renewal(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.01)
    told = threading.Event()
    holder = lease_in(files, "holder")
    holder.on_loss = told.set
    abandoned(files)  # number 7
    holder._number = 6  # whose next one is taken
    threading.Thread(target=holder._keep_renewing, daemon=True).start()
    assert told.wait(10)
    assert holder.is_lost


def test_holder_that_slept_through_many_renewals_does_not_take_an_old_number(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.0)
    holder = lease_in(files, "holder")
    assert holder._make(1, holder.state)
    sleeper = lease_in(files, "sleeper")
    for _ in range(30):
        holder.fence()
    assert not sleeper._make(2, sleeper.state)
    holder.fence()
