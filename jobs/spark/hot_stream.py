"""The hot tables follow the table of curated clicks, version by version."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jobs.console import say
from jobs.spark import hot_marts, hot_tables
from jobs.spark.delta_log import newest
from jobs.spark.hot_marts import HORIZON
from jobs.spark.hot_tables import state_of
from jobs.spark.moments import micros
from jobs.spark.one_writer import fence
from jobs.spark.postgres import connect
from jobs.spark.recent_clicks import RecentClicks
from jobs.spark.session import run_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.spark.hot_source import Arrival


class Seen(NamedTuple):
    """What this run has read of the curated stream: the table's id, its version, and the clock at that version."""

    table: str
    version: int
    clock: dt.datetime


@dataclass
class HotStream:
    """Follows the table of curated clicks, and keeps those since the horizon in `recent`.

    A batch is what the table gained since the last one; a run's first is everything since the horizon. Its number is
    the table's version, so that one that runs again, however the last run died, is the same batch.
    """

    spark: SparkSession
    path: str
    recent: RecentClicks
    keep: dt.timedelta
    seen: Seen | None = field(default=None, init=False)
    read: int = field(default=0, init=False)

    def advance(self) -> None:
        """Bring the hot tables to the newest version of the curated table."""
        from jobs.spark.hot_source import changes

        now = newest(self.spark, self.path)
        table, version = now.table_id, now.version
        if not self.seen or self.seen.table != table:
            self._start(table, version)
        elif version > self.seen.version:
            arrival = changes(self.spark, self.path, self.seen.version + 1, version)
            if arrival.is_append:
                self._batch(arrival, Seen(table, version, max(self.seen.clock, arrival.newest or self.seen.clock)))
            else:
                say("clicks were removed from the curated stream")
                self._start(table, version)

    def _start(self, table: str, version: int) -> None:
        """Begin at the horizon, unless PostgreSQL has this version of the table."""
        from jobs.spark.hot_source import everything

        with connect() as connection:
            known = state_of(connection, table)
        if known and version <= known.version:
            say(f"batch {version}: is already in PostgreSQL")
            return
        self.seen = None
        self.recent.clear()
        arrival = everything(self.spark, self.path, known.clock - HORIZON if known else None)
        if known and (not arrival.newest or arrival.newest < known.clock):  # what moved the clock was removed
            arrival = everything(self.spark, self.path, None)
        if arrival.newest:
            self._batch(arrival, Seen(table, version, arrival.newest))
        else:
            say(f"batch {version}: read {arrival.count:,} clicks, none of which moves the clock")

    def _batch(self, arrival: Arrival, now: Seen) -> None:
        """Write what `arrival` affects, in one transaction with its number."""
        if not arrival.by_hour:  # the table's files were compacted
            self.seen = now
            return
        started = time.monotonic()
        snapshot = hot_marts.snapshot_of(now.clock)
        horizon = snapshot - hot_marts.HORIZON
        if not self.seen:
            say(f"starts at {horizon:%Y-%m-%d %H:%M}, 48 h before the newest click")
        count = sum(map(self.recent.add, arrival.since(horizon)))
        self.recent.drop_before(micros(horizon))
        if self.seen:  # what was dated ahead, and is due now
            self.recent.touch(micros(hot_marts.snapshot_of(self.seen.clock)), micros(snapshot))
        marts = hot_marts.compute(self.recent, snapshot)
        fence()
        with connect() as connection:
            batch = hot_tables.Batch(*now, is_whole=not self.seen, written_by=run_of(self.spark))
            written = hot_tables.write(connection, batch, marts, self.keep)
        self.recent.clear_touched()
        late = arrival.count - count if self.seen else 0
        self.seen, self.read = now, self.read + arrival.count
        behind = dt.timedelta(seconds=max(0, round(time.time() - now.clock.timestamp())))
        say(
            f"batch {now.version}: read {arrival.count:,} clicks{_of_them(late, arrival.ahead)}, {written}, "
            f"snapshot {snapshot:%Y-%m-%d %H:%M}, newest click {behind} old, took {time.monotonic() - started:.1f} s"
        )


def _of_them(late: int, ahead: int) -> str:
    """What a batch's progress line says about clicks that are not in the tables."""
    kinds = {"older than 48 h: left to the cold marts": late, "dated ahead: kept until their time comes": ahead}
    said = "; ".join(f"{count:,} of them {kind}" for kind, count in kinds.items() if count)
    return f" ({said})" if said else ""
