"""Live: which runs it begins, what they send, and how it ends."""

from __future__ import annotations

import datetime as dt
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stack import live
from stack.airflow_api import AirflowApi, Task
from stack.demo import PRODUCER, Memory, Wanted
from stack.errors import StackError
from stack.live import Chain
from stack.stack import Stack
from tests.unit.stack.conftest import NOW

HOT = "tripclick_analytics_mart_realtime"


class Runs:
    """An Airflow whose runs are in the states that a test gives them."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.begun: list[tuple[str, dict[str, Any]]] = []
        self.ended: list[str] = []

    def trigger(self, dag_id: str, params: dict[str, Any]) -> str:
        """As AirflowApi.trigger."""
        self.begun.append((dag_id, params))
        self.states[dag_id] = "queued"
        return dag_id

    def run_state(self, dag_id: str, _: str) -> str:
        """As AirflowApi.run_state."""
        return self.states[dag_id]

    def end_run(self, dag_id: str, _: str) -> None:
        """As AirflowApi.end_run."""
        self.ended.append(dag_id)

    def tasks(self, *_: str) -> list[Task]:
        """As AirflowApi.tasks."""
        return [Task("work", "failed", 1.0, 1)]

    def log(self, *_: Any) -> list[str]:
        """As AirflowApi.log."""
        return ["error: no broker"]


def test_live_begins_the_next_run_of_a_dag_when_one_has_ended_and_goes_on_where_it_stopped(stack: Stack) -> None:
    memory = Memory.begin(stack, Wanted(1, 0.02, story=False), NOW)
    chain = Chain(stack, cast("AirflowApi", airflow := Runs()), memory)
    for _ in range(2):
        chain.keep_running(NOW)
    assert [dag_id for dag_id, _ in airflow.begun] == [PRODUCER, "tripclick_streaming_curated", HOT]
    first = airflow.begun[0][1]
    assert (first["first_date"], first["last_date"], first["shift_weeks"]) == ("2020-10-17", "2020-10-18", 319)
    assert first.get("speed", 1) == 1
    airflow.states[PRODUCER] = "success"
    days_later = NOW + dt.timedelta(days=9)
    chain.keep_running(days_later)
    assert len(airflow.begun) == 4
    assert airflow.begun[3][1] == first | {"last_date": "2020-10-27"}, "nothing of the pause is left out"
    assert {path.name for path in stack.log_folder.glob("*.json")} >= {"2020-10-17.json", "2020-10-27.json"}
    airflow.states[PRODUCER] = "success"
    chain.keep_running(days_later)
    assert Memory.of(stack) == memory
    assert memory.sent == "2020-10-26"


def test_live_says_why_a_run_has_failed_and_ends_the_others(stack: Stack) -> None:
    chain = Chain(stack, cast("AirflowApi", airflow := Runs()), Memory(319, 0.02, "", "2020-10-17"))
    chain.keep_running(NOW)
    airflow.states[HOT] = "failed"
    with pytest.raises(StackError, match=f"{HOT}.work failed:\n  error: no broker"):
        chain.keep_running(NOW)
    chain.end()
    assert airflow.ended == [PRODUCER, "tripclick_streaming_curated"]


def test_ctrl_c_ends_what_runs_and_is_not_an_error(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(_: float) -> None:
        raise KeyboardInterrupt

    Memory.begin(stack, Wanted(1, 0.02, story=False), dt.datetime.now(dt.UTC))
    airflow = Runs()
    started = SimpleNamespace(**vars(stack), up=lambda: None, airflow_api=lambda: airflow)
    monkeypatch.setattr(live, "Stack", lambda: started)
    monkeypatch.setattr(live, "wait_for_dags", lambda _: None)
    monkeypatch.setattr("time.sleep", press)
    ignored: list[Any] = []
    monkeypatch.setattr("signal.signal", lambda *what: ignored.append(what))
    live.live()
    assert airflow.ended == [dag_id for dag_id, _ in airflow.begun]
    assert len(airflow.ended) == 3
    assert ignored == [(signal.SIGINT, signal.SIG_IGN)], "a second one would leave runs behind"
    assert capsys.readouterr().out.endswith("`make live` continues where they stopped.\n")


def test_live_needs_a_demo(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "Stack", lambda: stack)
    with pytest.raises(StackError, match="run `make demo` first"):
        live.live()
