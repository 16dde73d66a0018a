"""Leases of this process, holders that are gone, and a zombie, for every kind of files."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace

import pytest

from jobs.cli import JobError
from jobs.spark import lease as lease_module
from jobs.spark.lease import EXPIRES_S, Lease, State, state_of
from jobs.spark.lease_files import Files

TABLE = "lake/table"


def lease_in(files: Files, job: str = "job") -> Lease:
    """A lease of TABLE for this process, not yet taken."""
    return Lease(TABLE, files, state_of(job, os.getpid()))


def abandoned(files: Files, **changes: object) -> None:
    """A state that a holder on another host left behind, just renewed unless `changes` say otherwise."""
    state = replace(State("token", "dead job", "", time.time()), **changes)  # type: ignore[arg-type]
    assert files.create(f"{7:012}", json.dumps(asdict(state)).encode())


def check_that_a_zombie_is_fenced(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hung until another took the lease over commits nothing and takes nothing away."""
    monkeypatch.setattr(lease_module, "RENEW_S", 3600.0)  # it hangs: nothing renews
    zombie = lease_in(files, "zombie")
    zombie.take()
    zombie.fence()
    monkeypatch.setattr(lease_module, "EXPIRES_S", 0.0)
    follower = lease_in(files, "follower")
    follower.take()
    monkeypatch.setattr(lease_module, "EXPIRES_S", EXPIRES_S)
    monkeypatch.setattr(lease_module, "RENEW_S", 0.0)  # it wakes up
    with pytest.raises(JobError, match="another job may write it"):
        zombie.fence()
    follower.fence()
    zombie.release()
    with pytest.raises(JobError, match="is being written by follower"):
        lease_in(files).take()
    follower.release()
