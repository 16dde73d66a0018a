"""The hot tables: streams that follow the curated table and write batches into PostgreSQL, with a ledger of them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from jobs.spark import hot_stream, one_writer, streaming
from jobs.spark.hot_marts import Rows
from jobs.spark.tables import HOT_MARTS, TRAFFIC_MINUTE
from tests.simulation.postgres import Connection, Postgres, Result
from tests.simulation.spark import Session, moment
from tests.simulation.storage import NOTHING, S3, Delta, Entry, Row
from tests.simulation.stream import Judge
from tests.simulation.world import Host, Process, World

CURATED: Final = "s3a://l/clicks"
LEASE: Final = "s3a://l/checkpoints/hot"
LEDGER: Final = "mart_realtime_batches"
MINUTES: Final = 4


class Following:
    """A story of a curated table that grows, and of streams that start at any time."""

    PLACES = ("_writer", "COMMIT", "mart_realtime", "LOCK", "LOCK", "reads the log")

    def __init__(self, world: World) -> None:
        self.world = world
        self.s3 = S3(world)
        self.delta = Delta(self.s3)
        self.judge = Judge(world, self.s3)
        self.postgres = world.postgres = Postgres(world, [*HOT_MARTS, LEDGER], self._meaning)
        self.postgres.after_commit = self._look
        self.clicks, self.last_version = 0, -1

    def tell(self) -> None:
        """Let it happen, and see that PostgreSQL has every click."""
        world, chance = self.world, self.world.chance
        self._grow(None)
        for _ in range(chance.randrange(1, 7)):
            world.after(chance.random() * 120, self._grow)
        dense = chance.choice((1.0, 30.0, 150.0))
        for number in range(chance.randrange(1, 4)):
            world.after(chance.random() * dense, self._start, (f"stream {number}", chance.choice(world.hosts), 3.0))
        world.run()
        world.calm()
        world.finish(self._start(("the last stream", world.hosts[0], None)))
        right = self._right(self.delta.now(CURATED).version)
        if (there := self._there()) != right:
            world.broken(f"the minutes are {there} after the last stream, not {right}")

    def _grow(self, _: None) -> None:
        """The curated table gets some clicks; or nothing but a compaction's commit."""
        new = self.world.chance.randrange(3)
        rows = [
            {"offset": number, "minute": self.world.chance.randrange(MINUTES)}
            for number in range(self.clicks, self.clicks + new)
        ]
        version = self.delta.now(CURATED).version + 1
        entry = Entry(version, NOTHING, tuple(rows), None, None, self.world.now, Process("-", self.world.hosts[0], 0))
        self.s3.objects[f"{CURATED}/_delta_log/{version}"] = entry
        self.clicks += new
        self.world.tell(f"version {version} of the curated table has {new} clicks more")

    def _start(self, what: tuple[str, Host, float | None]) -> Process:
        name, host, minutes = what

        def main() -> None:
            try:
                self._stream(Session(self.delta, name), minutes)
            except psycopg.OperationalError as error:
                self.world.tell(f"ends: {error}")

        return self.world.start(name, host, main)

    def _stream(self, session: Session, minutes: float | None) -> None:
        """As the `run` of analytics_mart_realtime."""
        spark: Any = session
        recent: Any = Recent()
        process = self.world.task.process
        with one_writer.one_writer(spark, LEASE):
            stream = hot_stream.HotStream(spark, CURATED, recent, dt.timedelta(days=7))

            def advance(_: object) -> bool:
                process.began = self.world.now
                stream.advance()
                return True

            limits = streaming.Limits(minutes, 20.0, until_caught_up=minutes is None)
            streaming.repeat(spark, advance, limits)

    # What the statements mean

    def _meaning(self, connection: Connection, text: str, values: Any) -> Result:
        words = text.split()
        if text.startswith("SELECT batch_id"):
            return Result([(row["version"], row["clock"]) for row in connection.select(LEDGER)])
        if words[:3] == ["INSERT", "INTO", LEDGER]:
            return Result(rowcount=self._claim(connection, text, values))
        if text.startswith(f"DELETE FROM {TRAFFIC_MINUTE}"):
            kept = values[2]
            return Result(rowcount=connection.delete(TRAFFIC_MINUTE, lambda row: row["key"] not in kept))
        return Result()  # snapshots and what is final are not looked at

    @staticmethod
    def _claim(connection: Connection, text: str, values: Mapping[str, Any]) -> int:
        known = connection.select(LEDGER)
        if known and "WHERE known.batch_id < excluded.batch_id" in text and known[0]["version"] >= values["version"]:
            return 0
        connection.delete(LEDGER)
        return connection.insert(LEDGER, [{"version": values["version"], "clock": values["clock"]}])

    # What has to be so

    def _right(self, version: int) -> Counter[int]:
        rows = self.delta.now(CURATED, version).rows if version >= 0 else []
        return Counter(row["minute"] for row in rows)

    def _there(self) -> Counter[int]:
        found: Counter[int] = Counter()
        for row in self.postgres.rows(TRAFFIC_MINUTE):
            found[row["key"]] += row["clicks"]
        return +found

    def _look(self, process: Process) -> None:
        """A reader looks, right after each commit: it meets the clicks of a version, of the ledger's or a newer one.

        A stream's first batch reads what is there by then.
        """
        del process
        ledger = self.postgres.rows(LEDGER)
        version = ledger[0]["version"] if ledger else -1
        if version < self.last_version:
            self.world.broken(f"the ledger goes back from {self.last_version} to {version}")
        self.last_version = version
        there = self._there()
        if all(there != self._right(number) for number in range(version, self.delta.now(CURATED).version + 1)):
            self.world.broken(f"a reader meets {there} at version {version}, which has {self._right(version)}")


class Recent:
    """RecentClicks: each click once, and which minutes were touched."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.known: dict[int, Row] = {}
        self.touched: set[int] = set()

    def clear_touched(self) -> None:
        self.touched = set()

    def add(self, rows: list[Row]) -> int:
        for row in rows:
            if row["offset"] not in self.known:
                self.known[row["offset"]] = row
                self.touched.add(row["minute"])
        return len(rows)

    def drop_before(self, _: int) -> None:
        """All are of the last minutes."""

    def touch(self, *_: int) -> None:
        """None is dated ahead."""


@dataclass
class Arrival:
    """hot_source.Arrival."""

    rows: list[Row]
    newest: dt.datetime | None
    ahead: int = 0
    is_append: bool = True

    @property
    def by_hour(self) -> dict[int, int]:
        return {0: len(self.rows)} if self.rows else {}

    @property
    def count(self) -> int:
        return len(self.rows)

    def since(self, _: dt.datetime) -> Iterator[list[Row]]:
        yield self.rows


def everything(spark: Session, path: str, _: object) -> Arrival:
    """hot_source.everything."""
    rows = spark.delta.snapshot(path).rows
    return Arrival(rows, moment(0.0) if rows else None)


def changes(spark: Session, path: str, first: int, last: int) -> Arrival:
    """hot_source.changes."""
    entries = spark.delta.snapshot(path).entries[first : last + 1]
    rows = [row for entry in entries for row in entry.rows]
    return Arrival(rows, moment(0.0) if rows else None)


def compute(recent: Recent, _: dt.datetime) -> dict[str, Rows]:
    """hot_marts.compute: the minutes that were touched."""
    counts = Counter(row["minute"] for row in recent.known.values())
    minutes = Rows(["event_minute", "clicks"], [(minute, counts[minute]) for minute in sorted(recent.touched)])
    return {**{name: Rows([], []) for name in HOT_MARTS}, TRAFFIC_MINUTE: minutes}


def upsert_rows(connection: Any, table: str, _: object, __: object, rows: list[tuple[int, int]]) -> int:
    """postgres.upsert_rows."""
    there: Connection = connection

    def act() -> Result:
        keys = {key for key, _ in rows}
        there.delete(table, lambda row: row["key"] in keys)
        return Result(rowcount=there.insert(table, [{"key": key, "clicks": count} for key, count in rows]))

    return there.ask(f"UPSERT {table}", act).rowcount


def connect() -> Connection:
    """postgres.connect."""
    return Connection(World.now_running.postgres)
