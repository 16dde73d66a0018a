"""`python -m stack demo`: the whole chain on a running stack, with every number held against the generator's."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.settings import REPOSITORY
from stack.stack import Stack

FIRST_DATE = dt.date(2020, 10, 1)
POLL_SECONDS = 1.0
DAY_SECONDS = 86_400
# The hot chain: one day of the log is sent in REPLAY_SECONDS; the streams run on until all of it has arrived.
REPLAY_SECONDS = 40
CURATED_MINUTES = 1.4
HOT_MINUTES = 2.2
DAILY = "tripclick_daily_pipeline"
COLD_TABLES = ("session_analysis", "daily_traffic", "clinical_areas", "popular_documents")
HOT_TABLES = (
    "mart_realtime_traffic_minute",
    "mart_realtime_top_docs_1h",
    "mart_realtime_clinical_trend_24h",
    "mart_realtime_anomaly_sessions",
)


@dataclass(frozen=True)
class Days:
    """The days of the log that the demo generates: how many, and at which scale (1 is about 1,850 clicks a day)."""

    count: int
    scale: float

    @property
    def first(self) -> dt.date:
        """The first day; always the same, so that a second demo sends the same clicks."""
        return FIRST_DATE

    @property
    def last(self) -> dt.date:
        """The last day, itself included."""
        return self.first + dt.timedelta(days=self.count - 1)

    @classmethod
    def from_environment(cls) -> Days:
        """DAYS (3) and SCALE (1)."""
        try:
            days = cls(int(os.environ.get("DAYS") or 3), float(os.environ.get("SCALE") or 1))
        except ValueError as error:
            raise StackError(f"DAYS must be a whole number and SCALE a number: {error}") from error
        if days.count < 1 or days.scale <= 0:
            raise StackError("DAYS must be at least 1 and SCALE above 0")
        return days


def demo() -> None:
    """Run the demo; StackError says what failed."""
    started = time.monotonic()
    days = Days.from_environment()
    stack = Stack()
    stack.up()
    say(f"Logs of {days.count} days at scale {days.scale:g}")
    generate(stack, days)
    api = stack.airflow_api()
    wait_for_dags(api)
    follow(api, [(DAILY, start_cold(api, days))], "Cold chain: the log → Kafka → lake → analytics mart → PostgreSQL")
    follow(api, start_hot(api, days), "Hot chain: the log's last day, moved to this week, → hot marts")
    agree = report(stack, days)
    say(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. The stack goes on running; `make down` ends it.")
    next_steps(stack)
    if not agree:
        raise StackError("the counts do not agree (see the table above)")


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, flush=True)  # noqa: T201


def generate(stack: Stack, days: Days) -> None:
    """The logs of these days, into the folder of WEBSERVER_INGESTION_PATH."""
    dates = [f"--first-date={days.first}", f"--last-date={days.last}"]
    command = [sys.executable, "-m", "jobs.generator", f"--out={stack.log_folder}", *dates, f"--scale={days.scale:g}"]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def wait_for_dags(api: AirflowApi, limit_seconds: float = 120) -> None:
    """Wait until Airflow has every pipeline; raises what its Import Errors dialog shows."""
    wanted = {path.stem for path in (REPOSITORY / "pipelines").glob("*/tripclick_*.yaml")}
    deadline = time.monotonic() + limit_seconds
    while missing := wanted - set(api.dags()):
        errors = api.import_errors()
        if errors:
            raise StackError(f"Airflow cannot import the DAGs:\n{errors[0]}")
        if time.monotonic() > deadline:
            raise StackError(f"Airflow has not found {', '.join(sorted(missing))} within {limit_seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def start_cold(api: AirflowApi, days: Days) -> str:
    """Trigger the daily pipeline for these days; its run id."""
    return api.trigger(DAILY, {"first_date": str(days.first), "last_date": str(days.last)})


def start_hot(api: AirflowApi, days: Days) -> list[tuple[str, str]]:
    """Trigger the three DAGs of the hot chain, which run side by side; (dag id, run id) of each."""
    day = str(days.last)
    replay = {"first_date": day, "last_date": day, "speed": DAY_SECONDS / REPLAY_SECONDS, "run_minutes": 10}
    runs: dict[str, dict[str, Any]] = {
        "tripclick_producer_realtime": replay,
        "tripclick_streaming_curated": {"run_minutes": CURATED_MINUTES, "interval_seconds": 5},
        "tripclick_analytics_mart_realtime": {"run_minutes": HOT_MINUTES, "interval_minutes": 0.25},
    }
    return [(dag_id, api.trigger(dag_id, params)) for dag_id, params in runs.items()]


def follow(api: AirflowApi, runs: Sequence[tuple[str, str]], title: str) -> None:
    """Print each task's end as it comes, of these runs and of the runs that they trigger; raise when one is red."""
    say(f"\n{title}")
    board = _Board()
    while True:
        states = {dag_id: api.run_state(dag_id, run_id) for dag_id, run_id in runs}
        for dag_id, run_id in runs:
            _show(api, board, dag_id, run_id)
        board.waiting()
        if "failed" in states.values() and not any(state in {"queued", "running"} for state in states.values()):
            board.clear()
            raise StackError(_why(api, runs))
        if set(states.values()) == {"success"}:
            board.clear()
            return
        time.sleep(POLL_SECONDS)


def _show(api: AirflowApi, board: _Board, dag_id: str, run_id: str) -> None:
    """The tasks of a run in their order, those of a triggered child in place of the task that waits for it."""
    for task in api.tasks(dag_id, run_id):
        child = child_of(dag_id, run_id, task.task_id)
        if child and task.state and api.run_state(*child):
            _show(api, board, *child)
        elif not child and task.task_id not in {"start", "end"}:
            board.task(dag_id, run_id, task.task_id, task.state or "waits", task.seconds)


def child_of(dag_id: str, run_id: str, task_id: str) -> tuple[str, str] | None:
    """The run that a task of the daily pipeline triggers: trigger_run_id of pipelines/defaults.yaml."""
    from pipeline_config.project import load_project

    if dag_id != DAILY:
        return None
    daily = next(document.data for document in load_project().pipelines if document.data["dag_id"] == DAILY)
    target = next(task.get("trigger_dag_id") for task in daily["tasks"] if task["task_id"] == task_id)
    return (target, f"{run_id}__{task_id}") if target else None


class _Board:
    """The live progress: one line a task when it ends, and on a terminal the running ones on the last line."""

    def __init__(self) -> None:
        self._ended: set[tuple[str, str]] = set()
        self._running: dict[tuple[str, str], float] = {}
        self._live = sys.stdout.isatty()

    def task(self, dag_id: str, run_id: str, task_id: str, state: str, seconds: float | None) -> None:
        """Note the state of one task."""
        key = (run_id, f"{dag_id}.{task_id}")
        if state in {"success", "failed", "upstream_failed", "skipped", "removed"}:
            self._running.pop(key, None)
            if key not in self._ended:
                self._ended.add(key)
                self.clear()
                say(f"  {state:8} {key[1]:75} {seconds or 0:6.1f} s")
        elif state in {"running", "deferred", "restarting", "up_for_retry"}:
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


def _why(api: AirflowApi, runs: Sequence[tuple[str, str]]) -> str:
    """Which task is red, and the line of its log that says why."""
    for dag_id, run_id in runs:
        for task in api.tasks(dag_id, run_id):
            child = child_of(dag_id, run_id, task.task_id)
            if task.state == "failed" and child and api.run_state(*child) == "failed":
                return _why(api, [child])
            if task.state == "failed":
                lines = api.log(dag_id, run_id, task)
                words = [line for line in lines if "error:" in line] or lines[-5:]
                return f"{dag_id}.{task.task_id} failed:\n  " + "\n  ".join(words)
    return f"a run failed: {', '.join(dag_id for dag_id, _ in runs)}"


def clicks_of(folder: Path, first: dt.date, last: dt.date) -> int:
    """How many distinct valid clicks the generator says that it wrote for these days."""
    dates = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    truths = [json.loads((folder / "truth" / f"{date}.json").read_text(encoding="utf-8")) for date in dates]
    return sum(int(truth["clicks"]) for truth in truths)


def replayed_dates(day: dt.date, today: dt.date) -> tuple[dt.date, dt.date]:
    """The days on which a replay of `day` may have fallen by today: the same weekday, this week; first and last."""
    shifted = day + dt.timedelta(weeks=(today - day).days // 7)
    return shifted, shifted + dt.timedelta(days=1)


def report(stack: Stack, days: Days) -> bool:
    """Print the eight tables and generated against arrived clicks; True when they agree."""
    with psycopg.connect(**stack.postgres_login()) as connection:

        def number(query: str, *values: Any) -> int:
            row = connection.execute(query.encode(), values).fetchone()
            return int(row[0] or 0) if row else 0

        say("\nTables in PostgreSQL")
        for table in (*COLD_TABLES, *HOT_TABLES):
            say(f"  {table:35} {number(f'SELECT count(*) FROM {table}'):8,} rows")
        cold = number("SELECT sum(total_events) FROM daily_traffic WHERE event_date < %s", dt.date(2021, 1, 1))
        first, end = replayed_dates(days.last, dt.datetime.now(dt.UTC).date())
        hot_query = "SELECT sum(total_clicks) FROM mart_realtime_traffic_minute WHERE event_minute >= %s"
        hot = number(hot_query, dt.datetime.combine(first, dt.time(), dt.UTC))
    del end
    made_cold = clicks_of(stack.log_folder, days.first, days.last)
    made_hot = clicks_of(stack.log_folder, days.last, days.last)
    say("\nClicks                       generated   arrived")
    rows = (("cold, all days", made_cold, cold), ("hot, the last day", made_hot, hot))
    for name, made, arrived in rows:
        say(f"  {name:25} {made:10,} {arrived:9,}   {'equal' if made == arrived else 'NOT EQUAL'}")
    return all(made == arrived for _, made, arrived in rows)


def next_steps(stack: Stack) -> None:
    """Where Airflow is, and three things to try."""
    url, user, password = stack.airflow_login()
    say(
        f"\nAirflow: {url}   user {user}, password {password}\n\n"
        "Three things to try next\n"
        "  1. Open Airflow, choose tripclick_producer_batch, Trigger: send a day again, and nothing counts twice.\n"
        "  2. Misspell a key in pipelines/processing/tripclick_streaming_curated.yaml and run `make check`.\n"
        "  3. Change that file's description rightly, save it, and see it in Airflow a few seconds later."
    )
