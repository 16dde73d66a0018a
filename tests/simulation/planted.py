"""Faults that are planted into the code under test, or into what it stands on, one at a time: each must be found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Final

import msgspec
import pytest

from jobs.errors import JobError
from jobs.producer.progress import Block, Journal, Progress
from jobs.producer.sender import Sender
from jobs.spark import archive_raw, events, hot_tables, lease, mart_load, postgres, streaming_curated, writer
from jobs.spark.hot_stream import HotStream, Seen
from jobs.spark.lease import Lease
from jobs.spark.mart import Mart, Run, Written
from jobs.spark.overlap import Overlap
from jobs.spark.streaming_curated import CuratedWriter
from jobs.spark.tables import COLD_MARTS
from tests.simulation import storage
from tests.simulation.harness import SimulatedLease
from tests.simulation.postgres import Connection, Postgres
from tests.simulation.storage import Delta
from tests.simulation.world import SimulatedTime

Plant = Callable[[pytest.MonkeyPatch], None]


def no_condition(patch: pytest.MonkeyPatch) -> None:
    """Delta's own store on s3a."""
    patch.setattr(Delta, "is_conditional", False)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the lease is still held."""
    for module in (
        "hot_stream",
        "mart",
        "quarantine_removal",
        "quarantine_replay",
        "streaming",
        "upkeep",
        "writer",
    ):
        patch.setattr(f"jobs.spark.{module}.fence", lambda: None)


def batch_without_its_number(patch: pytest.MonkeyPatch) -> None:
    """A batch is appended without txnAppId and txnVersion."""

    def append_once(rows: Any, path: str, _: int, count: int | None = None) -> None:
        writer.append(rows, path, count)

    for module in (archive_raw, streaming_curated):
        patch.setattr(module, "append_once", append_once)


def takes_at_once(patch: pytest.MonkeyPatch) -> None:
    """Whoever wants a lease does not wait for a renewal."""
    patch.setattr(SimulatedLease, "_is_left", lambda *_: True)


def takes_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    """A lease is free when its stamp is a minute old by the taker's own clock."""

    def is_left(self: Lease, _: int, newest: Any) -> bool:
        if newest and not newest.is_free() and SimulatedTime.time() - newest.renewed < lease.EXPIRES_S:
            raise self._refusal(newest)
        return True

    patch.setattr(SimulatedLease, "_is_left", is_left)


def takes_from_the_living(patch: pytest.MonkeyPatch) -> None:
    """A process of this host that hangs counts as one of another host."""
    patch.setattr(lease, "_runs_here", lambda _: None)


def old_number_is_taken(patch: pytest.MonkeyPatch) -> None:
    """One that slept over many renewals does not see that its number is an old one."""

    def make(self: Lease, number: int, state: lease.State) -> bool:
        if not self.files.create(f"{number:012}", msgspec.json.encode(state)):
            return False
        self._number, self._renewed = number, lease._clock()
        self._clear(self._numbers(), number - lease._KEEP)
        return True

    patch.setattr(SimulatedLease, "_make", make)


def lease_without_condition(patch: pytest.MonkeyPatch) -> None:
    """A state of the lease is written whether it is there or not."""
    real = storage.HadoopStream.must
    patch.setattr(storage.HadoopStream, "must", lambda self, option, _: real(self, option, False))


def no_comparison(patch: pytest.MonkeyPatch) -> None:
    """A stream takes its records for new, whatever other streams have written."""
    patch.setattr(Overlap, "is_possible", lambda *_: False)


def caught_up_too_early(patch: pytest.MonkeyPatch) -> None:
    """A stream counts as caught up with others after its first batch."""
    real = Overlap.is_possible

    def is_possible(self: Overlap, spark: Any, stream: str) -> bool:
        found = real(self, spark, stream)
        self.note_end()
        return found

    patch.setattr(Overlap, "is_possible", is_possible)


def first_batch_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    """A run believes the end of the batch before it that the checkpoint has."""
    real = Overlap.__init__

    def init(self: Overlap, *paths: str) -> None:
        real(self, *paths)
        self._is_first = False

    patch.setattr(Overlap, "__init__", init)


def half_a_batch_is_done(patch: pytest.MonkeyPatch) -> None:
    """The clicks are written before the bad records, and say that both are."""

    def append(self: CuratedWriter, checked: Any, batch_id: int, reasons: Any) -> None:
        del reasons
        writer.append_once(events.clicks(checked), self.clicks_path, batch_id)
        writer.append_once(events.quarantine(checked), self.quarantine_path, batch_id)

    patch.setattr(CuratedWriter, "_append", append)


def lease_is_lost_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """A fence that could not renew lets the commit go on."""

    def fence(self: Lease) -> None:
        try:
            self._renew()
        except JobError:
            pass

    patch.setattr(SimulatedLease, "fence", fence)


# The producer


def sent_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """Lines count as acknowledged as soon as they are sent."""
    patch.setattr(Block, "complete", True)


def gap_is_noted(patch: pytest.MonkeyPatch) -> None:
    """A block is noted though one before it is not acknowledged."""

    def collect(self: Sender, note_after: int) -> None:
        done = [block for block in self._blocks if block.complete]
        self._blocks = type(self._blocks)(block for block in self._blocks if not block.complete)
        for block in done:
            self._reached, self._stored = block.progress, self._stored + block.count
            self._waiting_bytes -= len(block.text)
            if block.progress:
                block.progress.add(block)
        del note_after
        self._note(1)

    patch.setattr(Sender, "_collect", collect)


def refusal_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """A line that Kafka did not take counts as acknowledged."""
    real = Block.delivered
    patch.setattr(Block, "delivered", lambda self, _, message: real(self, None, message))


def lost_lines_are_believed(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether Kafka still has the lines."""
    patch.setattr(Journal, "_dropped", lambda *_: "")


def another_topic_is_believed(patch: pytest.MonkeyPatch) -> None:
    """Progress is believed of a topic that was recreated since, and nobody looks."""
    patch.setattr(Journal, "_recreated", lambda *_: "")
    lost_lines_are_believed(patch)


def another_file_is_believed(patch: pytest.MonkeyPatch) -> None:
    """Progress is believed of a file that has other lines by now."""
    real = Progress.take_over

    def take_over(self: Progress, kept: Any, file: Any) -> bool:
        real(self, kept, file)
        return True

    patch.setattr(Progress, "take_over", take_over)


def note_without_its_file(patch: pytest.MonkeyPatch) -> None:
    """The progress of one file counts for another one."""
    real = Progress.__init__

    def init(self: Progress, *words: Any) -> None:
        real(self, *words)
        self.key = "the log"

    patch.setattr(Progress, "__init__", init)


# The hot tables


def older_batch_wins(patch: pytest.MonkeyPatch) -> None:
    """The ledger takes a batch that is older than its newest one."""
    patch.setattr(hot_tables, "_CLAIM", hot_tables._CLAIM.partition("WHERE known")[0])


def batch_without_a_transaction(patch: pytest.MonkeyPatch) -> None:
    """The ledger's row is committed before the rows of its batch."""
    patch.setattr(Connection, "transaction", lambda _: nullcontext())


def goes_on_without_the_clicks_before(patch: pytest.MonkeyPatch) -> None:
    """A new run goes on at the ledger's version, as if it held the clicks until then."""
    real = HotStream._start

    def start(self: HotStream, table: str, version: int) -> None:
        with postgres.connect() as connection:
            known = hot_tables.state_of(connection, table)
        if known and version > known.version:
            self.seen = Seen(table, known.version, known.clock)
            self.advance()
        else:
            real(self, table, version)

    patch.setattr(HotStream, "_start", start)


# The cold marts


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """Two loads replace the tables at the same time."""
    patch.setattr(Postgres, "lock", lambda *_: None)


def no_transaction(patch: pytest.MonkeyPatch) -> None:
    """Readers meet each statement's work."""
    patch.setattr(Connection, "transaction", lambda _: nullcontext())


def older_run_is_loaded(patch: pytest.MonkeyPatch) -> None:
    """A load that hung puts an older run in the place of a newer one."""

    def days(connection: Any, complete: mart_load.Complete) -> Any:
        del connection, complete

    patch.setattr(mart_load, "_days_to_load", days)


def tables_of_two_runs(patch: pytest.MonkeyPatch) -> None:
    """A load takes the tables as they are while an ETL writes them, and does not compare them."""

    def written(self: Mart) -> Written:
        marts = {name: self._version(name) for name in COLD_MARTS}
        newest = [next(self._writes(mart)) for mart in marts.values()]
        run = Run.of(newest[0].note or "")
        return Written(run, max(commit.when for commit in newest), marts, {})

    patch.setattr(Mart, "written", written)
    patch.setattr(mart_load, "_refuse_a_contradiction", lambda *_: None)


def days_of_the_wrong_run(patch: pytest.MonkeyPatch) -> None:
    """A load takes the days that the last run changed, whatever run PostgreSQL has."""

    def days(connection: Any, complete: mart_load.Complete) -> Any:
        del connection
        return next(reversed(list(complete.changed_since.values())[:2]), None)

    patch.setattr(mart_load, "_days_to_load", days)


PLANTED: Final[dict[str, list[Plant]]] = {
    "stream": [
        no_condition, no_fence, batch_without_its_number, takes_at_once, takes_by_the_wall_clock, takes_from_the_living,
        old_number_is_taken, lease_without_condition, no_comparison, caught_up_too_early,
        first_batch_is_not_compared, half_a_batch_is_done,
        lease_is_lost_unnoticed,
    ],
    "producer": [
        sent_is_acknowledged, gap_is_noted, refusal_is_ignored, lost_lines_are_believed, another_topic_is_believed,
        another_file_is_believed,        note_without_its_file,
    ],
    "hot": [older_batch_wins, batch_without_a_transaction, goes_on_without_the_clicks_before],
    "swap": [no_lock, no_transaction, older_run_is_loaded, tables_of_two_runs, days_of_the_wrong_run],
}  # fmt: skip
