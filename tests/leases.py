"""Leases of this process, holders that are gone, and a zombie, for every kind of files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import pytest

from jobs.errors import JobError
from jobs.spark import lease as lease_module
from jobs.spark.lease import EXPIRES_S, Lease, State, state_of
from jobs.spark.lease_files import Files

TABLE = "lake/table"


def lease_in(files: Files, job: str = "job", *, elsewhere: bool = False) -> Lease:
    """A lease of TABLE for this process, not yet taken; `elsewhere`, for one that others take to be on another host."""
    state = state_of(job, os.getpid())
    return Lease(TABLE, files, replace(state, process="") if elsewhere else state)


def abandoned(files: Files, **changes: object) -> None:
    """A state that a holder on another host left behind."""
    state = replace(State("token", "dead job", ""), **changes)  # type: ignore[arg-type]
    assert files.create(f"{7:012}", json.dumps(asdict(state)).encode())


def check_that_a_zombie_is_fenced(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hung until another took the lease over commits nothing and takes nothing away."""
    monkeypatch.setattr(lease_module, "RENEW_S", 3600.0)  # it hangs: nothing renews
    zombie = lease_in(files, "zombie", elsewhere=True)
    zombie.take()
    zombie.fence()
    monkeypatch.setattr(lease_module, "EXPIRES_S", 0.0)
    follower = lease_in(files, "follower")
    follower.take()
    monkeypatch.setattr(lease_module, "EXPIRES_S", EXPIRES_S)
    with pytest.raises(JobError, match="another job may be writing it"):
        zombie.fence()
    follower.fence()
    zombie.release()  # it wakes up, and takes nothing away
    with pytest.raises(JobError, match="is being written by follower"):
        lease_in(files).take()
    follower.release()
