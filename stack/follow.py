"""Follows runs of a running Airflow: a line per task as it ends, and why the first failed one failed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import cache

from pipeline_config.project import load_project
from stack.airflow_api import AirflowApi
from stack.errors import StackError

POLL_SECONDS = 2.0
DAILY = "tripclick_daily_pipeline"
ENDED = {"success", "failed", "upstream_failed", "skipped", "removed"}
UNDER_WAY = {"running", "deferred", "restarting", "up_for_retry"}


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, flush=True)  # noqa: T201


def follow(api: AirflowApi, runs: Sequence[tuple[str, str]], title: str, limit_minutes: float = 60) -> None:
    """Print each task's end as it comes, of these runs (dag id, run id) and of the runs that they trigger.

    Raises StackError if a run fails, with the line of the task's log that says why, or does not end in time.
    """
    say(f"\n{title}")
    board = _Board()
    deadline = time.monotonic() + limit_minutes * 60
    while True:
        states = [api.run_state(*run) for run in runs]
        for dag_id, run_id in runs:
            _show(api, board, dag_id, run_id)
        if all(state in {"success", "failed"} for state in states):
            break
        if time.monotonic() > deadline:
            raise StackError(f"not ended within {limit_minutes:g} minutes: {', '.join(dag_id for dag_id, _ in runs)}")
        board.waiting()
        time.sleep(POLL_SECONDS)
    board.clear()
    if "failed" in states:
        raise StackError(why(api, runs))


def _show(api: AirflowApi, board: _Board, dag_id: str, run_id: str) -> None:
    """The tasks of a run in their order, those of a triggered child in place of the task that waits for it."""
    for task in api.tasks(dag_id, run_id):
        child = child_of(dag_id, run_id, task.task_id)
        if child and task.state and child not in board.over and api.run_state(*child):
            _show(api, board, *child)
            if task.state in ENDED:
                board.over.add(child)
        elif not child and task.task_id not in {"start", "end"}:
            board.task(dag_id, run_id, task.task_id, task.state or "waits", task.seconds)


def child_of(dag_id: str, run_id: str, task_id: str) -> tuple[str, str] | None:
    """The run that a task of the daily pipeline triggers: trigger_run_id of pipelines/defaults.yaml."""
    target = targets().get(task_id) if dag_id == DAILY else None
    return (target, f"{run_id}__{task_id}") if target else None


@cache
def targets() -> dict[str, str]:
    """The DAG that each triggering task of the daily pipeline triggers."""
    tasks = load_project().pipeline(DAILY).tasks
    return {task.task_id: task.trigger_dag_id for task in tasks if task.trigger_dag_id is not None}


class _Board:
    """The live progress: one line per task when it ends, and on a terminal the running ones on the last line."""

    def __init__(self) -> None:
        self.over: set[tuple[str, str]] = set()
        """Runs (dag id, run id) that have nothing more to show."""
        self._ended: set[tuple[str, str]] = set()
        self._running: dict[tuple[str, str], float] = {}
        self._live = sys.stdout.isatty()

    def task(self, dag_id: str, run_id: str, task_id: str, state: str, seconds: float | None) -> None:
        """Note the state of one task."""
        key = (run_id, f"{dag_id}.{task_id}")
        if state in ENDED:
            self._running.pop(key, None)
            if key not in self._ended:
                self._ended.add(key)
                self.clear()
                say(f"  {state:8} {key[1]:75} {seconds or 0:6.1f} s")
        elif state in UNDER_WAY:
            if key not in self._running and not self._live:
                say(f"  {'starts':8} {key[1]}")
            self._running.setdefault(key, time.monotonic())

    def waiting(self) -> None:
        """Redraw the last line."""
        if self._live and self._running:
            parts = [f"{name} {time.monotonic() - since:.0f} s" for (_, name), since in self._running.items()]
            columns = os.get_terminal_size().columns
            sys.stdout.write("\r\033[K" + f"  running  {', '.join(parts)}"[: columns - 1])
            sys.stdout.flush()

    def clear(self) -> None:
        """Empty the last line."""
        if self._live:
            sys.stdout.write("\r\033[K")


def why(api: AirflowApi, runs: Sequence[tuple[str, str]]) -> str:
    """Which task has failed, and the line of its log that says why."""
    for dag_id, run_id in runs:
        for task in api.tasks(dag_id, run_id):
            child = child_of(dag_id, run_id, task.task_id)
            if task.state == "failed" and child and api.run_state(*child) == "failed":
                return why(api, [child])
            if task.state == "failed":
                lines = api.log(dag_id, run_id, task)
                words = [line for line in lines if "error:" in line]
                words = words or [*lines[-20:], *api.scheduler_words(dag_id, run_id, task)]
                return f"{dag_id}.{task.task_id} failed:\n  " + "\n  ".join(words)
    return f"a run failed: {', '.join(dag_id for dag_id, _ in runs)}"
