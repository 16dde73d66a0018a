"""What is printed of the runs that are followed, and why the first red one is red."""

from __future__ import annotations

from typing import Any, cast

import pytest

from stack import follow as following
from stack.airflow_api import AirflowApi, Task
from stack.errors import StackError
from stack.follow import DAILY, child_of, follow


class FakeAirflow:
    """Answers as Airflow would; each look at the run `r` shows the next of `states`, by dag id or `dag_id.task_id`."""

    def __init__(self, states: list[dict[str, str]], log: list[str] | None = None) -> None:
        self.states = states
        self.lines = log or []
        self.looks = 0
        self.asked: list[str] = []

    @property
    def now(self) -> dict[str, str]:
        """What is seen since the last look."""
        return self.states[max(0, min(self.looks, len(self.states)) - 1)]

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """As AirflowApi.run_state."""
        self.looks += run_id == "r"
        return self.now.get(dag_id)

    def tasks(self, dag_id: str, _: str) -> list[Task]:
        """As AirflowApi.tasks; the daily pipeline's one task triggers the load."""
        task_id = "trigger_load_postgres" if dag_id == DAILY else "work"
        self.asked.append(dag_id)
        state = self.now.get(f"{dag_id}.{task_id}", self.now.get(dag_id))
        return [Task("start", "success", 0, 1), Task(task_id, state, 2.0, 1)]

    def log(self, *_: Any) -> list[str]:
        """As AirflowApi.log."""
        return self.lines


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between two looks."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0)


def run(airflow: FakeAirflow, dag_id: str = "d") -> None:
    """Follow one run."""
    follow(cast("AirflowApi", airflow), [(dag_id, "r")], "Title")


def test_follow_returns_when_the_run_is_green() -> None:
    airflow = FakeAirflow([{"d": "queued"}, {"d": "running"}, {"d": "success"}])
    run(airflow)
    assert airflow.looks == 3


def test_follow_raises_the_error_line_of_the_red_task_of_a_child() -> None:
    child = child_of(DAILY, "r", "trigger_load_postgres")
    assert child == ("tripclick_load_postgres", "r__trigger_load_postgres")
    failed = {DAILY: "failed", child[0]: "failed"}
    airflow = FakeAirflow([{DAILY: "running"}, failed], ["noise", "error: PGHOST is not set"])
    with pytest.raises(StackError, match=r"tripclick_load_postgres\.work failed:\n  error: PGHOST is not set"):
        run(airflow, DAILY)


def test_follow_asks_no_more_about_a_child_that_has_ended() -> None:
    going_on, child = {DAILY: "running"}, "tripclick_load_postgres"
    over = {**going_on, f"{DAILY}.trigger_load_postgres": "success", child: "success"}
    airflow = FakeAirflow([{**going_on, child: "running"}, over, over, {**over, DAILY: "success"}])
    run(airflow, DAILY)
    assert (airflow.asked.count(DAILY), airflow.asked.count(child)) == (4, 2)


def test_follow_gives_up_in_the_end() -> None:
    airflow = FakeAirflow([{"d": "running"}])
    with pytest.raises(StackError, match="not ended within 0 minutes: d"):
        follow(cast("AirflowApi", airflow), [("d", "r")], "Title", limit_minutes=0)
