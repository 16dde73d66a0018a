"""`python -m stack demo`: the whole chain on a running stack, comparing every number with the generator's.

The log's history ends now: one shift of whole weeks, chosen when the stack is new, moves all clicks, and what has not
happened yet is not sent yet. `python -m stack live` continues from there.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from jobs.days import days_between
from jobs.producer.log_files import source_ms
from jobs.producer.replay import WEEK_MS, weeks_to_today
from jobs.spark.tables import COLD_MARTS, HOT_MARTS, SEARCH_MARTS
from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.follow import DAILY, POLL_SECONDS, follow, say
from stack.installer import install_superset
from stack.settings import REPOSITORY
from stack.stack import Stack

LOG_WEEK = dt.date(2020, 10, 12)  # in the week of this Monday is the log's day that a new stack moves to today
# The hot chain follows the log for a minute; the streams run on until what came has arrived.
PRODUCER_MINUTES = 1.2
CURATED_MINUTES = 1.2
HOT_MINUTES = 1.9
PRODUCER = "tripclick_producer_realtime"
SEARCH = "tripclick_search_quality"
LATE = dt.timedelta(minutes=5)  # the hot tables must have every click older than this


@dataclass(frozen=True)
class Wanted:
    """What the demo is asked for: days of the log, its scale (1 is about 1,850 clicks per day), and a story or none."""

    days: int
    scale: float
    story: bool

    @classmethod
    def from_environment(cls) -> Wanted:
        """DAYS (42: `trending` needs 35), SCALE (1) and STORY (1)."""
        try:
            wanted = cls(
                int(os.environ.get("DAYS") or 42),
                float(os.environ.get("SCALE") or 1),
                os.environ.get("STORY") != "0",
            )
        except ValueError as error:
            raise StackError(f"DAYS must be a whole number and SCALE a number: {error}") from error
        if wanted.days < 1 or wanted.scale <= 0:
            raise StackError("DAYS must be at least 1 and SCALE above 0")
        return wanted


@dataclass
class Memory:
    """Fixed for a whole stack: the log's shift and scale, and the end of its story in the log's time ("" is none).

    `sent` is the first day of the log that may not be in Kafka to its end.
    """

    shift_weeks: int
    scale: float
    story: str
    sent: str

    @classmethod
    def of(cls, stack: Stack) -> Memory | None:
        """What is known; None for a new stack. StackError if an earlier version's demo filled it."""
        path = _memory_file(stack)
        if not path.exists():
            return None
        known = json.loads(path.read_text(encoding="utf-8"))
        if "shift_weeks" not in known:
            raise StackError("this stack holds the clicks of an earlier version's demo: run `make clean` first")
        return cls(**known)

    @classmethod
    def begin(cls, stack: Stack, wanted: Wanted, now: dt.datetime) -> Memory:
        """That of a stack, new or not; StackError if it holds a different log."""
        memory = cls.of(stack)
        if memory is None:
            weeks = weeks_to_today(LOG_WEEK, now.date())
            moment = now - dt.timedelta(weeks=weeks)
            first = moment.date() - dt.timedelta(days=wanted.days - 1)
            story = f"{moment:%Y-%m-%dT%H:%M}" if wanted.story else ""
            memory = cls(weeks, wanted.scale, story, str(first))
            memory.save(stack)
        for name, there, asked in (
            ("SCALE", f"{memory.scale:g}", f"{wanted.scale:g}"),
            ("STORY", str(int(bool(memory.story))), str(int(wanted.story))),
        ):
            if there != asked:
                raise StackError(f"this stack holds a log of {name}={there}: run `make clean` before {name}={asked}")
        return memory

    def save(self, stack: Stack) -> None:
        """Write it into the stack's folder."""
        _memory_file(stack).write_text(json.dumps(asdict(self)), encoding="utf-8")

    def days(self, now: dt.datetime, count: int = 1) -> Days:
        """So many days of the log until now, and earlier ones that may be incomplete in Kafka."""
        until = now.replace(microsecond=0)
        last = until.date() - dt.timedelta(weeks=self.shift_weeks)
        first = min(last - dt.timedelta(days=count - 1), dt.date.fromisoformat(self.sent))
        return Days(first, self.shift_weeks, self.scale, until, self.story)


def _memory_file(stack: Stack) -> Path:
    return stack.home.folder() / "demo.json"


@dataclass(frozen=True)
class Days:
    """Days of the log from `first` until now (`until`), after a shift of `shift_weeks`."""

    first: dt.date
    shift_weeks: int
    scale: float
    until: dt.datetime
    story: str = ""

    @property
    def last(self) -> dt.date:
        """The log's day for today, which is not over."""
        return self.until.date() - dt.timedelta(weeks=self.shift_weeks)

    @property
    def coming(self) -> dt.date:
        """The log's day for tomorrow."""
        return self.last + dt.timedelta(days=1)

    @property
    def shift_ms(self) -> int:
        """Milliseconds from the log's time to now."""
        return self.shift_weeks * WEEK_MS


def demo() -> None:
    """Run the demo; StackError says what failed."""
    started = time.monotonic()
    wanted = Wanted.from_environment()
    stack = Stack()
    memory = Memory.begin(stack, wanted, dt.datetime.now(dt.UTC))
    stack.up()
    days = memory.days(dt.datetime.now(dt.UTC), wanted.days)
    say(f"Logs of {days.first} to {days.coming} at scale {days.scale:g}, {days.shift_weeks} weeks later")
    generate(stack, days)
    api = stack.airflow_api()
    wait_for_dags(api)
    follow(api, [(DAILY, start_cold(api, days))], "Cold chain: the log until now → Kafka → lake → mart → PostgreSQL")
    memory.sent = str(days.last)
    memory.save(stack)
    follow(api, start_hot(api, days), "Hot chain: the log at its own pace → hot marts; and the search marts")
    agree = report(stack, days)
    if os.environ.get("SUPERSET") == "1":
        say("\nDashboards")
        install_superset()
        stack.dashboards()
    say(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. The stack keeps running; `make down` stops it.")
    next_steps(stack)
    if not agree:
        raise StackError("the counts differ, or the hot tables are late (see the table above)")


def generate(stack: Stack, days: Days) -> None:
    """The logs of these days and of the coming one, into the folder of WEBSERVER_INGESTION_PATH."""
    dates = [f"--first-date={days.first}", f"--last-date={days.coming}", f"--scale={days.scale:g}"]
    story = [f"--story={days.story}"] if days.story else []
    command = [sys.executable, "-m", "jobs.generator", f"--out={stack.log_folder}", *dates, *story]
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
    """Trigger the daily pipeline for these days until now; returns its run id."""
    params = {
        "first_date": str(days.first),
        "last_date": str(days.last),
        "shift_weeks": days.shift_weeks,
        "until": f"{days.until:%Y-%m-%dT%H:%M:%S}",
        "missing_limit_days": 0,
    }
    return api.trigger(DAILY, params)


def hot_runs(days: Days, producer_minutes: float, curated_minutes: float, hot_minutes: float) -> dict[str, Any]:
    """The three DAGs of the hot chain, which run in parallel, and their params: the log from where Kafka has it."""
    dates = {"first_date": str(days.first), "last_date": str(days.coming), "shift_weeks": days.shift_weeks}
    return {
        PRODUCER: {**dates, "run_minutes": producer_minutes},
        "tripclick_streaming_curated": {"run_minutes": curated_minutes, "interval_seconds": 5},
        "tripclick_analytics_mart_realtime": {"run_minutes": hot_minutes, "interval_minutes": 0.25},
    }


def start_hot(api: AirflowApi, days: Days) -> list[tuple[str, str]]:
    """Trigger them for some minutes, when Kafka has all before today, and the search marts of what the cold chain has.

    (dag id, run id) of each.
    """
    runs = hot_runs(replace(days, first=days.last), PRODUCER_MINUTES, CURATED_MINUTES, HOT_MINUTES)
    return [(dag_id, api.trigger(dag_id, params)) for dag_id, params in {**runs, SEARCH: {}}.items()]


def report(stack: Stack, days: Days) -> bool:
    """Print the tables, generated against arrived clicks, and the newest one's age; returns whether all is right."""
    with psycopg.connect(**stack.postgres_login()) as connection:

        def value(query: str, *values: Any) -> Any:
            row = connection.execute(query.encode(), values).fetchone()
            return row[0] if row else None

        say("\nTables in PostgreSQL")
        for table in (*COLD_MARTS, *SEARCH_MARTS, *HOT_MARTS):
            say(f"  {table:35} {value(f'SELECT count(*) FROM {table}'):8,} rows")
        start = dt.datetime.combine(days.first, dt.time(), dt.UTC) + dt.timedelta(weeks=days.shift_weeks)
        cold = value("SELECT sum(total_events) FROM daily_traffic WHERE event_date >= %s", start.date())
        minute = value("SELECT max(event_minute) FROM mart_realtime_traffic_minute")
        newest = value("SELECT max(max_event_ts) FROM mart_realtime_batches")
        if minute is None or newest is None:
            raise StackError("the hot tables are empty")
        before = minute - dt.timedelta(days=1)
        hot = value(
            "SELECT sum(total_clicks) FROM mart_realtime_traffic_minute WHERE event_minute >= %s AND event_minute < %s",
            before,
            minute,
        )
    happened = moments(stack, days)
    counts = (
        (f"cold, until {days.until:%Y-%m-%d %H:%M}", clicks(happened, start, days.until), int(cold or 0)),
        (f"hot, 24 hours until {minute:%H:%M}", clicks(happened, before, minute), int(hot or 0)),
    )
    say(f"\n  {'Clicks':35} {'generated':>10} {'arrived':>10}")
    for name, made, arrived in counts:
        say(f"  {name:35} {made:10,} {arrived:10,}   {'equal' if made == arrived else 'NOT EQUAL'}")
    now = dt.datetime.now(dt.UTC)
    late = clicks(happened, newest + dt.timedelta(milliseconds=1), now - LATE)
    age = dt.timedelta(seconds=round((now - newest).total_seconds()))
    say(f"  The newest click in the hot tables is {age} old: {'LATE' if late else 'fresh'}")
    return not late and all(made == arrived for _, made, arrived in counts)


def clicks(happened: Sequence[int], start: dt.datetime, end: dt.datetime) -> int:
    """How many of these `moments` are in [start, end)."""
    first, last = (round(moment.timestamp() * 1000) for moment in (start, end))
    return sum(first <= ms < last for ms in happened)


def moments(stack: Stack, days: Days) -> list[int]:
    """When each click of the log happens in today's time, in epoch milliseconds; duplicate lines are one click."""
    files = (stack.log_folder / f"{day}.json" for day in days_between(days.first, days.coming))
    lines = (line for file in files for line in set(file.read_bytes().splitlines()))
    return [(source_ms(line) or 0) + days.shift_ms for line in lines]


def progress(stack: Stack) -> str:
    """How far the hot tables are, in words."""
    query = "SELECT max(event_minute), sum(total_clicks) FROM mart_realtime_traffic_minute"
    with psycopg.connect(**stack.postgres_login()) as connection:
        minute, count = connection.execute(query).fetchone() or (None, 0)
    return f"{dt.datetime.now(dt.UTC):%H:%M:%S} newest minute {minute:%H:%M}, {count:,} clicks in the hot tables"


def next_steps(stack: Stack) -> None:
    """Where Airflow is, and four things to try."""
    url, user, password = stack.airflow_login()
    say(
        f"\nAirflow: {url}   user {user}, password {password}\n\n"
        "Four things to try next\n"
        "  1. `make live`: continue the log at its own pace, followed by the hot tables, until you press Ctrl-C.\n"
        "  2. Open Airflow, choose tripclick_daily_pipeline, Trigger: send a day again, and nothing counts twice.\n"
        "  3. Misspell a key in pipelines/processing/tripclick_streaming_curated.yaml and run `make validate`.\n"
        "  4. Fix it, change the file's description, save, and see it in Airflow a few seconds later."
    )
