"""Airflow's own backfill of the daily pipeline: a run per date, each of which sends its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline_config.project import load_project
from stack.airflow_api import AirflowApi
from stack.follow import DAILY, follow
from stack.stack import Stack
from tests.e2e.conftest import shown
from tests.e2e.test_in_airflow import in_airflow

pytestmark = pytest.mark.e2e

CHILD = "tripclick_producer_batch"
SCHEDULED = (DAILY, "tripclick_search_quality")


def stand_ins() -> dict[str, dict[str, Any]]:
    """The daily pipeline up to the producer, whose DAG has its params and sends nothing."""
    daily, child = (load_project().pipeline(dag_id).place.document.data for dag_id in (DAILY, CHILD))
    trigger = daily["tasks"][1]
    assert trigger["trigger_dag_id"] == CHILD
    params = {name: param for name, param in daily["params"].items() if f"params.{name}" in str(trigger)}
    trigger = {**trigger, "trigger_dag_id": "sends", "dependencies": []}
    says = {
        "task_id": "says",
        "operator": "airflow.providers.standard.operators.empty.EmptyOperator",
        "advanced": {"doc": " ".join(f"{{{{ params.{name} }}}}" for name in child["params"])},
    }
    return {
        "by_dates": {**daily, "dag_id": "by_dates", "params": params, "tasks": [trigger]},
        "sends": {**child, "dag_id": "sends", "variables": [], "connections": [], "tasks": [says]},
    }


@pytest.fixture
def by_dates(project: Path, api: AirflowApi) -> Iterator[str]:
    """The stand-in, where DAGs have their schedules; those that have one besides are paused meanwhile."""
    local = project / "pipelines/environments/local.yaml"
    changed = local.read_text(encoding="utf-8")
    # A run that waits for no child takes a third of the time; what the child is given is the same.
    for old, new in (("schedules: false", "schedules: true"), ("poke_interval: 3", "wait_for_completion: false")):
        assert old in changed
        changed = changed.replace(old, new)
    added = {project / f"pipelines/{name}.yaml": json.dumps(data) for name, data in stand_ins().items()}
    for dag_id in SCHEDULED:
        api.call("PATCH", f"dags/{dag_id}", {"is_paused": True})
    try:
        with in_airflow(api, {"by_dates", "sends"}, added, local, changed):
            yield "by_dates"
    finally:
        api.wait(partial(are_without_schedule, api), "no DAG has a schedule again")
        for dag_id in SCHEDULED:
            api.call("PATCH", f"dags/{dag_id}", {"is_paused": False})


def are_without_schedule(api: AirflowApi) -> bool:
    return not any(api.dag(dag_id)["timetable_summary"] for dag_id in SCHEDULED)


def sent(api: AirflowApi) -> dict[str, tuple[str | None, str]]:
    """The first and last date that the child was given, by the kind of its parent's run and that one's date."""
    runs = api.call("GET", "dags/sends/dagRuns?limit=100")["dag_runs"]
    names = {run["dag_run_id"].partition("T15:00")[0]: run["conf"] for run in runs}
    return {name: (conf["first_date"], conf["last_date"]) for name, conf in names.items()}


@contextmanager
def alone_with_the_database(stack: Stack) -> Iterator[None]:
    """Airflow's other writers are stopped between two transactions: SQLite refuses who read before another wrote."""
    pids = [daemon.pid for daemon in stack.airflow.daemons() if daemon.pid and "api-server" not in str(daemon.log)]
    with closing(sqlite3.connect(stack.home.folder("airflow") / "airflow.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        database.execute("ROLLBACK")
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_each_date_of_a_backfill_has_its_run_which_sends_that_date(
    by_dates: str, stack: Stack, api: AirflowApi, pytestconfig: pytest.Config
) -> None:
    api.wait(lambda: scheduled(api), "the schedule has started its own run")
    with shown(pytestconfig):
        follow(api, [(by_dates, scheduled(api))], "A scheduled run")
    window = ["--from-date", "2020-09-01", "--to-date", "2020-09-03T15:00"]
    with alone_with_the_database(stack):
        stack.airflow.run_commands(["backfill", "create", "--dag-id", by_dates, *window, "--max-active-runs", "3"])
    days = [f"2020-09-0{day}" for day in (1, 2, 3)]
    with shown(pytestconfig):
        follow(api, [(by_dates, f"backfill__{day}T15:00:00+00:00") for day in days], "A backfill of three dates")
    found = sent(api)
    assert {name: dates for name, dates in found.items() if name.startswith("backfill")} == {
        f"backfill__{day}": (day, day) for day in days
    }
    ((name, dates),) = ((name, dates) for name, dates in found.items() if name.startswith("scheduled"))
    before = dt.date.fromisoformat(name.removeprefix("scheduled__")) - dt.timedelta(days=1)
    assert dates == (None, str(before)), "it sends all that Kafka was never given"


def scheduled(api: AirflowApi) -> str:
    """The id of the run that its schedule has started; empty if there is none yet."""
    runs = api.call("GET", "dags/by_dates/dagRuns?run_type=scheduled")["dag_runs"]
    return str(runs[0]["dag_run_id"]) if runs else ""
