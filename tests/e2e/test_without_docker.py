"""Without a Docker engine the producers run as local processes, by the environment file alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import demo
from stack.follow import follow
from stack.home import Home
from stack.stack import Stack

pytestmark = pytest.mark.e2e

DAY = demo.Days(count=1, scale=0.1)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack on a machine that has no dockerd and no engine that answers."""
    with_dockerd = Path(shutil.which("dockerd") or "/nowhere/dockerd").parent
    paths = [path for path in os.environ["PATH"].split(":") if Path(path).resolve() != with_dockerd.resolve()]
    monkeypatch.setenv("PATH", ":".join(paths))
    monkeypatch.setattr("stack.docker_engine.machine_engines", list)
    stack = Stack(Home(tmp_path / "stack", any_port=True))
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def test_producers_run_as_local_processes_and_the_stack_says_so(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.pipeline_environment == "local_without_docker"
    stack.status()
    assert "NO DOCKER ENGINE: the producers run as local processes" in capsys.readouterr().out
    demo.generate(stack, DAY)
    api = stack.airflow_api()
    demo.wait_for_dags(api)
    dates = {"first_date": str(DAY.first), "last_date": str(DAY.last)}
    run = ("tripclick_producer_batch", api.trigger("tripclick_producer_batch", dates))
    follow(api, [run], "Without Docker", limit_minutes=5)
    task = next(task for task in api.tasks(*run) if task.task_id == "producer_server0_batch")
    log = "\n".join(api.log(*run, task))
    clicks = demo.clicks_of((stack.log_folder / "truth").glob("*.json"))
    assert f"sent {clicks} lines of 1 days, acknowledged {clicks}, failed 0" in log
