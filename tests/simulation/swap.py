"""The cold marts: runs of the ETL write four tables in the lake, loads put them into PostgreSQL, readers look on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg

from jobs.errors import JobError
from jobs.spark import load_postgres, mart_load, one_writer
from jobs.spark.mart import Mart, Run, TableVersion, Written
from jobs.spark.tables import COLD_MARTS
from tests.simulation.postgres import Connection, Postgres, Result
from tests.simulation.spark import Frame, Session
from tests.simulation.storage import S3, Delta
from tests.simulation.stream import Judge
from tests.simulation.world import Host, Process, World

ROOT: Final = "s3a://l/mart"
FIRST: Final = dt.date(2020, 10, 1)
DAYS: Final = [FIRST + dt.timedelta(days=number) for number in range(4)]
Content = dict[dt.date, tuple[int, str]]  # how often the clicks of a day have changed, and the marts' definitions
_CLICKS: Final = TableVersion("c", "c", 0, notes_changes=True)


class Table:
    """A table of the mart, as mart.py knows it."""

    key = ("event_date",)

    def __init__(self, name: str) -> None:
        self.name = name


class Marts:
    """A story of ETLs and loads that start at any time, and of one reader."""

    PLACES = ("_delta_log", "_writer", "COMMIT", "LOCK", "LOCK", "COPY")

    def __init__(self, world: World) -> None:
        self.world = world
        self.s3 = S3(world)
        self.delta = Delta(self.s3)
        self.judge = Judge(world, self.s3)
        self.postgres = world.postgres = Postgres(world, [*COLD_MARTS, "mart_loads"], self._meaning)
        self.postgres.after_commit = self._look
        self.clicks = dict.fromkeys(DAYS, 0)
        self.published: list[Content] = []
        self.seen: Content = {}
        self.runs = 0

    def tell(self) -> None:
        """Let it happen, and see that PostgreSQL has the newest."""
        world, chance = self.world, self.world.chance
        self._start((self._etl, "first etl", world.hosts[0]))
        dense = chance.choice((10.0, 60.0, 300.0))
        for number in range(chance.randrange(2, 7)):
            job = chance.choice((self._etl, self._load, self._load))
            name = f"{'etl' if job == self._etl else 'load'} {number}"
            world.after(1.0 + chance.random() * dense, self._start, (job, name, chance.choice(world.hosts)))
        world.run()
        world.calm()
        for job, name in ((self._etl, "last etl"), (self._load, "last load")):
            world.finish(self._start((job, name, world.hosts[0])))
        if self._there(COLD_MARTS[0]) != self.published[-1]:
            world.broken(f"PostgreSQL has {self._there(COLD_MARTS[0])} after the last load, not {self.published[-1]}")

    def _start(self, what: tuple[Any, str, Host]) -> Process:
        job, name, host = what
        return self.world.start(name, host, lambda: job(Session(self.delta, name)))

    # The jobs

    def _etl(self, session: Session) -> None:
        """As the `run` of analytics_mart_etl: the days that have changed, or all; some hosts have other definitions."""
        spark: Any = session
        with one_writer.one_writer(spark, ROOT):
            mart = Mart(spark, ROOT)
            self.runs += 1
            for day in self.world.chance.sample(DAYS, 2):  # clicks that have come since
                self.clicks = {**self.clicks, day: self.clicks[day] + 1}
            run = Run(str(self.runs), self.world.chance.choice("ddde"), _CLICKS, None)
            now = {day: (changes, run.definitions) for day, changes in self.clicks.items()}
            last, days = self._continued(mart, run), None
            if last:
                before = self._content(last.marts[COLD_MARTS[0]])
                days = [number for number, day in enumerate(DAYS) if before[day] != now[day]]
                mart, run = mart.continuing(last), replace(run, days=[str(DAYS[number]) for number in days])
            self.world.task.process.began = self.world.now
            self.published.append(now)
            rows = [{"event_date": day, "offset": DAYS.index(day), "stamp": stamp} for day, stamp in now.items()]
            written: Any = Frame(session, [row for row in rows if days is None or row["offset"] in days])
            for name in self.world.chance.sample(COLD_MARTS, len(COLD_MARTS)):
                table: Any = Table(name)
                mart.write(table, written, run, days)

    def _continued(self, mart: Mart, run: Run) -> Written | None:
        """As etl.last_run_to_continue."""
        try:
            written = mart.written()
        except JobError:
            return None
        return written if written.run.definitions == run.definitions else None

    def _content(self, table: TableVersion) -> Content:
        rows = self.delta.now(table.path, table.version).rows
        return {row["event_date"]: row["stamp"] for row in rows}

    def _load(self, session: Session) -> None:
        """As the `run` of load_postgres."""
        spark: Any = session
        connection: Any = Connection(self.postgres)
        complete = mart_load.read_marts(spark, ROOT, load_postgres.LOAD)
        try:
            mart_load.replace(connection, complete)
        except psycopg.OperationalError as error:
            raise JobError(str(error)) from None

    # What the statements mean

    def _meaning(self, connection: Connection, text: str, values: Any) -> Result:
        words = text.split()
        if text.startswith("SELECT run_id"):
            notes = connection.select("mart_loads")
            return Result([(note["run_id"], note["ended"]) for note in notes[:1]])
        if text.startswith("SELECT count(*)"):
            return Result([(len(connection.select(words[-1])),)])
        if text.startswith("DELETE"):
            days = values[0] if values else DAYS
            return Result(rowcount=connection.delete(words[2], lambda row: row["event_date"] in days))
        if words[:2] == ["WITH", "load"]:
            table, _, run_id, ended, _ = values
            connection.delete("mart_loads", lambda row: row["table"] == table)
            connection.insert("mart_loads", [{"table": table, "run_id": run_id, "ended": ended}])
            return Result(rowcount=1)
        if text.startswith(("SELECT sum", "SELECT round")):
            return Result([(sum(row["stamp"][0] + 1 for row in connection.select(words[-1])),)])
        assert "tripclick_analyze" in text or "analyze" in text.lower(), text
        return Result([(None,)])

    # What has to be so

    def _there(self, table: str) -> Content:
        rows = self.postgres.rows(table)
        found = {row["event_date"]: row["stamp"] for row in rows}
        if len(found) < len(rows):
            self.world.broken(f"{table} has a row twice")
        return found

    def _look(self, process: Process) -> None:
        """A reader looks, right after each commit: it meets one run of the ETL, whole, and none before the last one."""
        del process
        tables = {name: self._there(name) for name in COLD_MARTS}
        now = tables[COLD_MARTS[0]]
        if any(content != now for content in tables.values()):
            self.world.broken(f"a reader meets tables of more than one run: {tables}")
        if now and now not in self.published:
            self.world.broken(f"a reader meets what no run of the ETL wrote: {now}")
        if any(now.get(day, (0,))[0] < changes for day, (changes, _) in self.seen.items()):
            self.world.broken(f"a reader meets older rows than before: {now} after {self.seen}")
        self.seen = now


def copy_rows(connection: Any, table: str, _: Sequence[str], rows: Iterable[Any]) -> int:
    """postgres.copy_rows."""
    there: Connection = connection
    return there.ask(f"COPY {table}", lambda: Result(rowcount=there.insert(table, rows))).rowcount


def csv(table: Any, days: Collection[dt.date] | None) -> Iterable[Any]:
    """mart_load.LakeRows.csv: the rows as they are."""
    frame: Frame = table.rows if days is None else table.rows.where(table.rows.event_date.isin(*days))
    return frame.rows
