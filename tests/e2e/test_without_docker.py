"""Without a Docker engine the producers run as local processes, by the environment file alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stack import status
from stack.docker_engine import NONE
from stack.follow import follow
from stack.stack import Stack
from tests.e2e.conftest import DAYS, shown

pytestmark = pytest.mark.e2e


@pytest.fixture
def without_docker(stack: Stack, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Stack:
    """The stack, started again on a machine that has no dockerd and no engine that answers."""
    with_dockerd = Path(shutil.which("dockerd") or "/nowhere/dockerd").parent
    paths = [path for path in os.environ["PATH"].split(":") if Path(path).resolve() != with_dockerd.resolve()]
    monkeypatch.setenv("PATH", ":".join(paths))
    monkeypatch.setattr("stack.docker_engine.machine_engines", list)
    stack.docker.stop()
    with shown(pytestconfig):
        stack.up()
    return stack


def test_producers_run_as_local_processes_and_the_stack_says_so(
    without_docker: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = without_docker
    assert (stack.docker.address, stack.pipeline_environment) == (NONE, "local_without_docker")
    status.show(stack)
    assert "NO DOCKER ENGINE: the producers run as local processes" in capsys.readouterr().out
    api = stack.airflow_api()
    task = "dags/tripclick_producer_batch/tasks/producer_server0_batch"
    api.wait(
        lambda: api.call("GET", task)["operator_name"] == "LocalProcessOperator",
        "the DAG is that of the new environment",
    )
    day = str(DAYS.first)
    params = {"first_date": day, "last_date": day, "again": True}
    run = ("tripclick_producer_batch", api.trigger("tripclick_producer_batch", params))
    follow(api, [run], "Without Docker", limit_minutes=5)
    (sent,) = (task for task in api.tasks(*run) if task.task_id == "producer_server0_batch")
    log = "\n".join(api.log(*run, sent))
    clicks = len((stack.log_folder / f"{day}.json").read_bytes().splitlines())
    assert f"sent {clicks} lines of 1 days, acknowledged {clicks}, failed 0" in log
