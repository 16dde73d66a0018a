"""A task that is killed, times out or is marked failed leaves no process on the Spark server and no container."""

from __future__ import annotations

import os
import re
import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from stack.airflow_api import AirflowApi
from stack.follow import follow, say
from stack.process import all_processes
from stack.stack import Stack
from tests.e2e.conftest import DAYS, shown

pytestmark = pytest.mark.e2e

TASK_LABEL = "pipeline.task"  # of pipeline_config.operators, which needs an Airflow to be imported
LEFT_SECONDS = 60
STREAM = ("tripclick_streaming_curated", "streaming_to_curated_stream")
PRODUCER = ("tripclick_producer_realtime", "producer_server0_realtime")
PARAMS: dict[str, dict[str, Any]] = {
    STREAM[0]: {"run_minutes": 30},
    # At half the log's own pace; it would end at once if its next click were due after its time.
    PRODUCER[0]: {"first_date": str(DAYS.first), "last_date": str(DAYS.last), "speed": 0.5, "run_minutes": 1440},
}


@pytest.fixture(scope="module")
def engine(stack: Stack) -> Iterator[DockerClient]:
    """A client of the stack's engine."""
    client = DockerClient(stack.docker.address)
    yield client
    client.close()


def processes(stack: Stack) -> list[int]:
    """What runs of the stream on the Spark server: its shell, spark-submit, the JVM and Python."""
    return [
        process.pid for process in stack.ssh.daemons()[0].members() if b"streaming_curated" in _command(process.pid)
    ]


def containers(engine: DockerClient) -> list[str]:
    """The producers' containers, also those that have ended."""
    return [found.id for found in engine.containers.list(all=True, filters={"label": TASK_LABEL}, ignore_removed=True)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def instance(api: AirflowApi, run: tuple[str, str, str], change: dict[str, Any] | None = None) -> Any:
    """A task instance (dag id, task id, run id), or what a change of it answers."""
    dag_id, task_id, run_id = run
    path = f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/{task_id}"
    return api.call("PATCH", path, change) if change else api.call("GET", path)


@pytest.fixture(scope="module")
def topic(api: AirflowApi, pytestconfig: pytest.Config) -> None:
    """The topic exists: the stream refuses to start without one."""
    days = {"first_date": str(DAYS.first), "last_date": str(DAYS.first)}
    with shown(pytestconfig):
        batch = ("tripclick_producer_batch", api.trigger("tripclick_producer_batch", days))
        follow(api, [batch], "The topic exists", limit_minutes=10)


@pytest.fixture
def runs(stack: Stack, api: AirflowApi, engine: DockerClient, topic: None) -> Iterator[list[Any]]:  # noqa: ARG001
    """Both tasks at work, as (dag id, task id, run id): a JVM, and a container."""
    found = [(*names, api.trigger(names[0], PARAMS[names[0]])) for names in (STREAM, PRODUCER)]
    api.wait(lambda: any(b"SparkSubmit" in _command(pid) for pid in processes(stack)), "a JVM", 120)
    api.wait(lambda: containers(engine), "a container", 120)
    yield found
    for run in found:
        if instance(api, run)["state"] not in {"failed", "success"}:
            instance(api, run, {"new_state": "failed"})
    api.wait(lambda: {api.run_state(run[0], run[2]) for run in found} == {"failed"}, "the runs have ended")


def nothing_is_left(stack: Stack, api: AirflowApi, engine: DockerClient, pytestconfig: pytest.Config) -> None:
    """Within the limit; says how long it took."""
    limit = LEFT_SECONDS
    ssh = api.wait(lambda: not processes(stack), "no process is left on the Spark server", limit)
    container = ssh + api.wait(lambda: not containers(engine), "no container is left", limit - ssh)
    with shown(pytestconfig):
        say(f"  no process after {ssh:.1f} s, no container after {container:.1f} s at most")


def test_a_task_marked_failed_leaves_no_process_behind(
    runs: list[Any], stack: Stack, api: AirflowApi, engine: DockerClient, pytestconfig: pytest.Config
) -> None:
    for run in runs:
        instance(api, run, {"new_state": "failed"})
    nothing_is_left(stack, api, engine, pytestconfig)


@pytest.fixture
def short_limit(project: Path, api: AirflowApi) -> Iterator[None]:
    """Both tasks have an execution_timeout of 18 seconds."""
    folders = {STREAM[0]: "processing", PRODUCER[0]: "ingestion"}
    files = {project / "pipelines" / folder / f"{name}.yaml": name for name, folder in folders.items()}
    right = {path: path.read_text(encoding="utf-8") for path in files}
    tags = {name: api.dag(name)["tags"] for name in folders}
    try:
        for path, text in right.items():
            short = re.sub(r"(?m)^( *)command: .*$", r"\g<0>\n\1execution_timeout_minutes: 0.3", text)
            path.write_text(short.replace("tags: [", "tags: [short, "), encoding="utf-8")
        api.wait(lambda: all(api.dag(name)["tags"] != tags[name] for name in folders), "the limits are seen")
        yield
    finally:
        for path, text in right.items():
            path.write_text(text, encoding="utf-8")
        api.wait(lambda: all(api.dag(name)["tags"] == tags[name] for name in folders), "they are gone")


@pytest.mark.usefixtures("short_limit")
def test_a_task_that_timed_out_leaves_no_process_behind(
    runs: list[Any], stack: Stack, api: AirflowApi, engine: DockerClient, pytestconfig: pytest.Config
) -> None:
    api.wait(lambda: {instance(api, run)["state"] for run in runs} == {"up_for_retry"}, "their time is over", 120)
    nothing_is_left(stack, api, engine, pytestconfig)


def test_a_task_whose_worker_was_killed_leaves_no_process_behind(
    runs: list[Any], stack: Stack, api: AirflowApi, engine: DockerClient, pytestconfig: pytest.Config
) -> None:
    """Without a worker nobody stops them: the SSH session ends with its client, the container with its stdin."""
    for run in runs:
        _kill_worker(instance(api, run)["id"])
    nothing_is_left(stack, api, engine, pytestconfig)


def _kill_worker(instance_id: str) -> None:
    """SIGKILL for the process that runs a task instance, and before it for the one that watches over it."""
    named = {process.pid: process for process in all_processes() if instance_id.encode() in _command(process.pid)}
    (worker,) = (process for process in named.values() if process.parent in named)  # the executor's is named so, too
    for pid in (worker.parent, worker.pid):
        os.kill(pid, signal.SIGKILL)
