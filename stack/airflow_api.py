"""The few calls of Airflow's REST API that the demo and the end-to-end tests need."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stack.errors import StackError
from stack.server import open_directly

TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """One task instance of a run; `seconds` is how long it took, or None while it has not ended."""

    task_id: str
    state: str | None
    seconds: float | None
    try_number: int


class AirflowApi:
    """A login on a running Airflow."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"username": user, "password": password}
        self._token = ""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of /api/v2, or of a path that starts with /; raises StackError with Airflow's own message."""
        try:
            whole = path if path.startswith("/") else f"/api/v2/{path}"
            return self._send(method, whole, body, {"Authorization": f"Bearer {self.token()}"})
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")
            raise StackError(f"Airflow refused {method} {path}: {error.code} {words}") from error
        except urllib.error.URLError as error:
            raise StackError(f"Airflow at {self.url} does not answer: {error.reason}") from error

    def dags(self) -> list[str]:
        """The ids of all DAGs that Airflow has."""
        return [dag["dag_id"] for dag in self.call("GET", "dags?limit=100")["dags"]]

    def dag(self, dag_id: str) -> dict[str, Any]:
        """Airflow's details of a DAG."""
        found: dict[str, Any] = self.call("GET", f"dags/{dag_id}")
        return found

    def import_errors(self) -> list[str]:
        """The contents of the Import Errors dialog."""
        return [error["stack_trace"] for error in self.call("GET", "importErrors")["import_errors"]]

    def trigger(self, dag_id: str, params: dict[str, Any]) -> str:
        """Start a run with these params; returns its run id."""
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": params})
        return str(run["dag_run_id"])

    def end_run(self, dag_id: str, run_id: str) -> None:
        """End a run and what it runs; it counts as one that ended well."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}", {"state": "success"})

    def wait(self, is_so: Callable[[], Any], what: str, limit_seconds: float = 60) -> float:
        """Poll until `is_so` is true; returns how many seconds it took. StackError after the limit."""
        started = time.monotonic()
        while not is_so():
            if time.monotonic() - started > limit_seconds:
                raise StackError(f"not within {limit_seconds:g} s: {what}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - started

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """queued, running, success or failed; None if there is no such run (yet)."""
        runs = self.call("GET", f"dags/{dag_id}/dagRuns?run_id_pattern={urllib.parse.quote(run_id)}&limit=100")
        return next((run["state"] for run in runs["dag_runs"] if run["dag_run_id"] == run_id), None)

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """The task instances of a run."""
        found = self.call("GET", f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances")["task_instances"]
        return [Task(task["task_id"], task["state"], task["duration"], task["try_number"]) for task in found]

    def log(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """The lines of a task's log."""
        path = f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/{task.task_id}/logs/{task.try_number}"
        content = self.call("GET", f"{path}?full_content=true")["content"]
        return [_line(entry) for entry in content]

    def scheduler_words(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """What Airflow itself did to a task (not in the task's log), from the audit log."""
        query = urllib.parse.urlencode({"dag_id": dag_id, "run_id": run_id, "task_id": task.task_id})
        events = self.call("GET", f"eventLogs?{query}")["event_logs"]
        return [f"{event['event']}: {event['extra']}" for event in events if event["extra"]]

    def token(self) -> str:
        """The headers of an API client."""
        if not self._token:
            self._token = str(self._send("POST", "/auth/token", self._credentials, {})["access_token"])
        return self._token

    def _send(self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the URL is our own stack's)
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json", **headers},
            method=method,
        )
        with open_directly(request, timeout=TIMEOUT_SECONDS) as response:
            return json.loads(response.read() or b"null")


def _line(entry: Any) -> str:
    """An entry of a task's log as text, with its exception."""
    if not isinstance(entry, dict):
        return str(entry)
    raised = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return " ".join([str(entry["event"]), *raised])
