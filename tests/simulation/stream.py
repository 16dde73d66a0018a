"""The streams of the lake: lease, commits, checkpoints, and the quarantine's replay, on simulated S3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from jobs.spark import archive_raw, lease, one_writer, quarantine_replay, streaming, streaming_curated
from tests.simulation.spark import Frame, Session, Stream
from tests.simulation.storage import S3, Delta, Entry, Row, place
from tests.simulation.world import Host, Process, World

CLICKS, QUARANTINE, ARCHIVE, CHECKPOINTS = (
    "s3a://l/clicks",
    "s3a://l/quarantine",
    "s3a://l/archive",
    "s3a://l/checkpoints",
)
MAX_RECORDS: Final = 14


class Judge:
    """Looks at each object that is stored: nothing that was acknowledged is replaced, and there is one writer."""

    def __init__(self, world: World, s3: S3) -> None:
        self.world, self.s3 = world, s3
        self._holders: dict[str, tuple[int, float, lease.State]] = {}  # by lease: number, when, state
        self.lost_at: dict[str, float] = {}  # by token
        s3.watchers.append(self.look)

    def look(self, name: str, content: Any) -> None:
        """An object is about to be stored."""
        folder, _, last = name.rpartition("/")
        if folder.endswith("/_delta_log"):
            self._look_at_commit(name, content)
        elif folder.endswith(f"/{one_writer.LEASE_FOLDER}"):
            self._look_at_lease(folder, int(last), msgspec.json.decode(content, type=lease.State))

    def _look_at_commit(self, name: str, entry: Entry) -> None:
        if self.s3.objects.get(name, entry) is not entry:
            self.world.broken(f"{name}, which was acknowledged, is replaced")
        process = entry.by
        for held in process.leases:
            if self.lost_at.get(held.state.token, self.world.now) < process.began:
                self.world.broken(f"{process.name} writes {name}, and lost its lease before it began")

    def _look_at_lease(self, folder: str, number: int, state: lease.State) -> None:
        before = self._holders.get(folder)
        if before and number <= before[0]:
            return  # of one that slept over many renewals: it has to take it back
        if before and state.token != before[2].token and not before[2].released:
            self._look_at_taking_over(*before[1:], state)
        self.lost_at.pop(state.token, None)  # of one that took it again before it began
        self._holders[folder] = (number, self.world.now, state)

    def _look_at_taking_over(self, since: float, old: lease.State, new: lease.State) -> None:
        self.lost_at[old.token] = self.world.now
        holder = self._process(old)
        if holder.dead:
            return
        if holder.host is self._process(new).host:
            self.world.broken(f"{new.holder} takes over from a living process of its host")
        if self.world.now - since < lease.EXPIRES_S:
            self.world.broken(f"{new.holder} takes over {self.world.now - since:.1f} s after a renewal")

    def _process(self, state: lease.State) -> Process:
        pid = int(state.process.split()[2])
        return next(process for process in self.world.processes if process.pid == pid)


class Lake:
    """A story of streams: a topic, and jobs that start at any time, on two hosts."""

    PLACES = (
        "_delta_log",
        "PUT s3a://l/checkpoints/offsets",
        "_writer",
        "PUT s3a://l/quarantine",
        "PUT s3a://l/clicks/_d",
    )

    def __init__(self, world: World) -> None:
        self.world = world
        self.s3 = S3(world)
        self.delta = Delta(self.s3)
        self.judge = Judge(world, self.s3)
        self.topic: list[Row] = []
        self.is_archive = world.random() < 0.3

    def tell(self) -> None:
        """Let it happen, and see that every record is there, once."""
        world, chance = self.world, self.world.chance
        for _ in range(chance.randrange(2, 6)):
            world.after(chance.random() * 100, self._send, chance.randrange(1, 6))
        self._send(4)
        self.replays = 0.0 if self.is_archive else chance.choice((0.0, 0.3, 0.8))
        if self.replays > 0.5:  # there is something to replay
            self._process("the first stream", world.hosts[0], self.stream)
        dense = chance.choice((2.0, 20.0, 200.0))
        for number in range(chance.randrange(2, 5)):
            host = chance.choice(world.hosts)
            world.after(chance.random() * dense, self._start, (f"job {number}", host))
        if chance.random() < 0.4:
            world.after(chance.random() * 240, self._lose_checkpoint)
        if chance.random() < 0.5:
            world.after(chance.random() * chance.choice((20.0, 240.0)), self._release)
        world.run()
        world.calm()
        self._finish("the last stream", self.stream)
        if not self.is_archive:
            self._finish("the last replay", self.replay)
        self.check()

    def _send(self, count: int) -> None:
        for _ in range(min(count, MAX_RECORDS - len(self.topic))):
            bad = 0 if self.world.random() < 0.6 else self.world.chance.randrange(1, 3)
            offset = len(self.topic)
            self.topic.append({"topic": "t", "partition": 0, "offset": offset, "kafka_ts": 0, "bad": bad})

    def _start(self, which: tuple[str, Host]) -> None:
        name, host = which
        replays = self.world.random() < self.replays
        job = self.replay if replays else self.stream
        self._process(f"{name} {'replay' if replays else 'stream'}", host, job)

    def _process(self, name: str, host: Host, job: Callable[[Session], None]) -> Process:
        return self.world.start(name, host, lambda: job(Session(self.delta, name)))

    def _finish(self, name: str, job: Callable[[Session], None]) -> None:
        self.world.finish(self._process(name, self.world.hosts[0], job))

    def _lose_checkpoint(self, _: None) -> None:
        """Somebody deletes it, as the documents say, when no job runs."""
        if all(process.dead for process in self.world.processes):
            self.world.tell("SOMEBODY DELETES THE CHECKPOINT")
            for name in [name for name in self.s3.objects if name.startswith(CHECKPOINTS)]:
                del self.s3.objects[name]

    def _release(self, _: None) -> None:
        self.world.tell("A RELEASE WITH ANOTHER CONTRACT")
        self.delta.contract = 1

    # The jobs

    def stream(self, session: Session) -> None:
        """As the `run` of streaming_curated, or of archive_raw."""
        spark: Any = session
        path = ARCHIVE if self.is_archive else CLICKS
        write: Any = (
            archive_raw.ArchiveWriter(path) if self.is_archive else streaming_curated.CuratedWriter(path, QUARANTINE)
        )
        process = self.world.task.process

        def judged(batch: Any, number: int) -> None:
            process.began = self.world.now
            write(batch, number)

        with one_writer.one_writer(spark, path):
            stream: Any = Stream(session, self.topic)
            streaming.run_rounds(stream, judged, CHECKPOINTS, streaming.Limits(), write.overlap.note_end)

    def replay(self, session: Session) -> None:
        """As the `run` of quarantine."""
        spark: Any = session
        if self.delta.snapshot(QUARANTINE).version < 0:
            return
        with one_writer.one_writer(spark, CLICKS):
            self.world.task.process.began = self.world.now
            quarantine_replay.replay(spark, CLICKS, QUARANTINE)

    # What has to come out

    def check(self) -> None:
        """Each record is in one of the tables, once."""
        tables = (ARCHIVE,) if self.is_archive else (CLICKS, QUARANTINE)
        found = Counter(place(row) for path in tables for row in self.delta.now(path).rows)
        for row in self.topic:
            if found[place(row)] != 1:
                self.world.broken(f"record {place(row)} is {found[place(row)]} times in {' and '.join(tables)}")


class Events:
    """Stands for the module jobs.spark.events."""

    @staticmethod
    def check(records: Frame) -> Frame:
        """With the reason by the contract of now."""
        contract = records.sparkSession.delta.contract
        rows = [{**row, "reason": "bad" if row["bad"] > contract else None} for row in records.rows]
        return Frame(records.sparkSession, rows)

    @staticmethod
    def clicks(checked: Frame) -> Frame:
        return Frame(checked.sparkSession, [row for row in checked.rows if not row["reason"]])

    @staticmethod
    def invalid(checked: Frame) -> Frame:
        return Frame(checked.sparkSession, [row for row in checked.rows if row["reason"]])

    quarantine = invalid

    @staticmethod
    def summary(checked: Frame) -> list[Any]:
        """A row for each reason."""
        found = []
        for reason in (None, "bad"):
            if rows := [row for row in checked.rows if row["reason"] == reason]:
                first = SimpleNamespace(partition=0, offset=place(rows[0]))
                found.append(SimpleNamespace(reason=reason, records=len(rows), newest_s=0.0, first=first))
        return found
