"""The lease of a place of the lake: real processes, in a real folder."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from jobs.cli import JobError
from jobs.spark import lease as lease_module
from jobs.spark.lease import EXPIRES_S, Lease, State, state_of
from jobs.spark.lease_files import LocalFiles

PROCESSES = 8


def lease_in(folder: Path, job: str = "job") -> Lease:
    return Lease(str(folder), LocalFiles(folder), state_of(job, os.getpid()))


def abandoned(folder: Path, **changes: object) -> State:
    """A state that a holder left behind, just renewed unless `changes` say otherwise."""
    state = replace(State("token", "dead job", "", time.time()), **changes)  # type: ignore[arg-type]
    assert LocalFiles(folder).create(f"{7:012}", json.dumps(asdict(state)).encode())
    return state


def _race(folder: Path, start: Barrier, end: Barrier, number: int) -> None:
    lease = lease_in(folder, f"job {number}")
    start.wait()
    try:
        lease.take()
    except JobError as error:
        (folder / f"refused {number}").write_text(str(error), encoding="utf-8")
    else:
        (folder / f"won {number}").touch()
    end.wait()  # the winner must not give it back, or end, before all have tried


@pytest.mark.parametrize("before", ["nothing", "released", "run out", "half a file"])
def test_of_many_that_race_one_wins_and_the_others_hear_its_name(tmp_path: Path, before: str) -> None:
    if before == "released":
        abandoned(tmp_path, released=True)
    if before == "run out":
        abandoned(tmp_path, renewed=time.time() - EXPIRES_S - 1)
    if before == "half a file":
        assert LocalFiles(tmp_path).create(f"{7:012}", b'{"token": "')
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


def test_living_holder_is_refused_by_name_until_its_lease_runs_out(tmp_path: Path) -> None:
    abandoned(tmp_path, renewed=time.time() - EXPIRES_S + 5)
    with pytest.raises(JobError, match="is being written by dead job: wait"):
        lease_in(tmp_path).take()
    abandoned(other := tmp_path / "other", renewed=time.time() - EXPIRES_S - 1)
    taken = lease_in(other)
    taken.take()
    taken.release()


def test_killed_holder_of_this_host_is_followed_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        abandoned(tmp_path, process=state_of("job", child.pid).process)
        with pytest.raises(JobError):
            lease_in(tmp_path).take()
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, not yet reaped
        lease_in(tmp_path).take()
    finally:
        child.kill()
        child.communicate()


def test_process_of_another_host_or_with_a_pid_used_again_is_told_apart(tmp_path: Path) -> None:
    boot, space, pid, start = state_of("job", os.getpid()).process.split()
    abandoned(tmp_path, process=f"another-boot {space} 999999999 {start}")
    with pytest.raises(JobError):
        lease_in(tmp_path).take()
    abandoned(again := tmp_path / "again", process=f"{boot} {space} {pid} {int(start) - 1}")
    lease_in(again).take()


def test_given_back_lease_is_free_and_leaves_one_small_file(tmp_path: Path) -> None:
    for _ in range(3):
        lease = lease_in(tmp_path)
        lease.take()
        lease.release()
    assert len(list(tmp_path.iterdir())) == 1


def test_renewals_keep_it_and_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.005)
    monkeypatch.setattr(lease_module, "EXPIRES_S", 0.5)
    lease = lease_in(tmp_path)
    lease.take()
    deadline = time.monotonic() + 1.5  # three times as long as it lasts without a renewal
    while time.monotonic() < deadline:
        with pytest.raises(JobError, match="is being written"):
            lease_in(tmp_path).take()
    lease.fence()
    assert len(list(tmp_path.glob("[0-9]*"))) <= 12
    lease.release()


def test_zombie_is_fenced_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 3600.0)  # it hangs: nothing renews
    told: list[str] = []
    zombie = lease_in(tmp_path, "zombie")
    zombie.on_loss = lambda: told.append("lost")
    zombie.take()
    zombie.fence()
    monkeypatch.setattr(lease_module, "EXPIRES_S", 0.0)
    follower = lease_in(tmp_path, "follower")
    follower.take()
    monkeypatch.setattr(lease_module, "EXPIRES_S", EXPIRES_S)
    monkeypatch.setattr(lease_module, "RENEW_S", 0.0)  # it wakes up
    with pytest.raises(JobError, match="another job may write it"):
        zombie.fence()
    follower.fence()
    zombie.release()  # takes nothing away from the follower
    with pytest.raises(JobError, match="follower"):
        lease_in(tmp_path).take()
    follower.release()


def test_one_that_slept_over_many_renewals_does_not_take_an_old_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.0)
    holder = Lease(str(tmp_path), LocalFiles(tmp_path), state_of("holder", os.getpid()))
    assert holder._make(1, holder.state)
    sleeper = lease_in(tmp_path, "sleeper")
    for _ in range(30):
        holder.fence()
    assert not sleeper._make(2, sleeper.state)
    holder.fence()
