"""`python -m stack demo`: the whole chain on a running stack, comparing every number with the generator's."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from jobs.producer.replay import weeks_to_now
from jobs.spark.tables import COLD_MARTS, HOT_MARTS
from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.follow import DAILY, POLL_SECONDS, follow, say
from stack.installer import install_superset
from stack.settings import REPOSITORY
from stack.stack import Stack

FIRST_DATE = dt.date(2020, 10, 1)
DAY_SECONDS = 86_400
# The hot chain: one day of the log is sent in REPLAY_SECONDS; the streams run on until all of it has arrived.
REPLAY_SECONDS = 30
REPLAY_SPEED = DAY_SECONDS / REPLAY_SECONDS
CURATED_MINUTES = 1.2
HOT_MINUTES = 1.9


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
        """The last day (included)."""
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
    follow(api, start_hot(stack, api, days), "Hot chain: the log's last day, moved to the last seven days, → hot marts")
    agree = report(stack, days)
    if os.environ.get("SUPERSET") == "1":
        say("\nDashboards")
        install_superset()
        stack.dashboards()
    say(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. The stack keeps running; `make down` stops it.")
    next_steps(stack)
    if not agree:
        raise StackError("the counts differ (see the table above)")


def generate(stack: Stack, days: Days) -> None:
    """The logs of these days, into the folder of WEBSERVER_INGESTION_PATH."""
    Memory.of(stack).require_scale(days.scale)
    dates = [f"--first-date={days.first}", f"--last-date={days.last}"]
    command = [sys.executable, "-m", "jobs.generator", f"--out={stack.log_folder}", *dates, f"--scale={days.scale:g}"]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def wait_for_dags(api: AirflowApi, limit_seconds: float = 120) -> None:
    """Wait until Airflow has every pipeline; raises the contents of its Import Errors dialog."""
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
    # No day is missing: replays of earlier demos, each moved to the days before it, leave days out.
    params = {"first_date": str(days.first), "last_date": str(days.last), "missing_limit_days": 0}
    return api.trigger(DAILY, params)


def start_hot(stack: Stack, api: AirflowApi, days: Days) -> list[tuple[str, str]]:
    """Trigger the three DAGs of the hot chain, which run side by side; (dag id, run id) of each."""
    Memory.of(stack).replays_on(replay_date(days.last), days.last)
    day = str(days.last)
    replay = {"first_date": day, "last_date": day, "speed": REPLAY_SPEED, "run_minutes": 10}
    runs: dict[str, dict[str, Any]] = {
        "tripclick_producer_realtime": replay,
        "tripclick_streaming_curated": {"run_minutes": CURATED_MINUTES, "interval_seconds": 5},
        "tripclick_analytics_mart_realtime": {"run_minutes": HOT_MINUTES, "interval_minutes": 0.25},
    }
    return [(dag_id, api.trigger(dag_id, params)) for dag_id, params in runs.items()]


def report(stack: Stack, days: Days) -> bool:
    """Print the eight tables and generated against arrived clicks; True when they agree."""
    memory = Memory.of(stack)
    generated = sorted((stack.log_folder / "truth").glob("*.json"))
    dates = [path.stem for path in generated]
    replay = replay_date(days.last)
    with psycopg.connect(**stack.postgres_login()) as connection:

        def number(query: str, *values: Any) -> int:
            row = connection.execute(query.encode(), values).fetchone()
            return int(row[0] or 0) if row else 0

        say("\nTables in PostgreSQL")
        for table in (*COLD_MARTS, *HOT_MARTS):
            say(f"  {table:35} {number(f'SELECT count(*) FROM {table}'):8,} rows")
        cold = number("SELECT sum(total_events) FROM daily_traffic WHERE event_date = ANY(%s::date[])", dates)
        hot = number(
            "SELECT sum(total_clicks) FROM mart_realtime_traffic_minute "
            "WHERE (event_minute AT TIME ZONE 'UTC')::date = %s",
            replay,
        )
    counts = (
        (f"cold, {len(dates)} days", clicks_of(generated), cold),
        (f"hot, {days.last} as {replay}", clicks_of(memory.replayed(stack, replay)), hot),
    )
    say(f"\n  {'Clicks':35} {'generated':>10} {'arrived':>10}")
    for name, made, arrived in counts:
        say(f"  {name:35} {made:10,} {arrived:10,}   {'equal' if made == arrived else 'NOT EQUAL'}")
    return all(made == arrived for _, made, arrived in counts)


def clicks_of(truths: Iterable[Path]) -> int:
    """How many distinct valid clicks the generator says that it wrote, by its files of truth."""
    return sum(int(json.loads(path.read_text(encoding="utf-8"))["clicks"]) for path in truths)


def replay_date(day: dt.date) -> dt.date:
    """The day on which a replay of `day` falls that starts today: the latest of its weekday that is over."""
    today = dt.datetime.now(dt.UTC).date()
    return day + dt.timedelta(weeks=weeks_to_now(day, day, REPLAY_SPEED, today))


@dataclass
class Memory:
    """What earlier demos on this stack did: the scale of its logs, and which days were replayed on which date."""

    path: Path
    scale: float
    replays: dict[str, list[str]]

    @classmethod
    def of(cls, stack: Stack) -> Memory:
        """What is known; empty at first."""
        path = stack.home.folder() / "demo.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return cls(path, known.get("scale", 0.0), known.get("replays", {}))

    def require_scale(self, scale: float) -> None:
        """Raise StackError when the stack holds logs of another scale: one day's clicks would be of two."""
        if self.scale not in {0.0, scale}:
            raise StackError(f"this stack holds logs of SCALE={self.scale:g}: run `make clean` before SCALE={scale:g}")
        self.scale = scale
        self._save()

    def replays_on(self, date: dt.date, day: dt.date) -> None:
        """Note that `day` is replayed on `date`."""
        self.replays[str(date)] = sorted({*self.replays.get(str(date), []), str(day)})
        self._save()

    def replayed(self, stack: Stack, date: dt.date) -> list[Path]:
        """The truths of the days that were replayed on `date`."""
        return [stack.log_folder / "truth" / f"{day}.json" for day in self.replays.get(str(date), [])]

    def _save(self) -> None:
        self.path.write_text(json.dumps({"scale": self.scale, "replays": self.replays}), encoding="utf-8")


def next_steps(stack: Stack) -> None:
    """Where Airflow is, and three things to try."""
    url, user, password = stack.airflow_login()
    say(
        f"\nAirflow: {url}   user {user}, password {password}\n\n"
        "Three things to try next\n"
        "  1. Open Airflow, choose tripclick_producer_batch, Trigger: send a day again, and nothing counts twice.\n"
        "  2. Misspell a key in pipelines/processing/tripclick_streaming_curated.yaml and run `make validate`.\n"
        "  3. Fix it, change the file's description, save, and see it in Airflow a few seconds later."
    )
