"""S3 and what stands on it: Hadoop's file system as lease_files.py calls it, and Delta's commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

from tests.simulation.world import NoAnswerError, Process, World

Row = dict[str, Any]
NOTHING: Final = frozenset[int]()
EVERYTHING: Final = None


class TakenError(Exception):
    """Another one has made the object."""


class JavaError(Exception):
    """What Py4J raises; `java_exception` tells its class."""

    def __init__(self, java_exception: str) -> None:
        super().__init__(java_exception)
        self.java_exception = java_exception


class Objects(dict[str, Any]):
    """Contents by name; `folders` has the last parts of the names in each."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def __setitem__(self, name: str, content: Any) -> None:
        folder, _, last = name.rpartition("/")
        self.folders[folder][last] = None
        super().__setitem__(name, content)

    def __delitem__(self, name: str) -> None:
        folder, _, last = name.rpartition("/")
        del self.folders[folder][last]
        super().__delitem__(name)


class S3:
    """Objects by name. A PUT is one step; one with a condition fails when the object is there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objects = Objects()
        self.replaced = 0  # how often an object was
        self.watchers: list[Callable[[str, Any], None]] = []

    def put(self, name: str, content: Any, *, absent: bool) -> None:
        """TakenError: `absent` was asked for, and it is not."""

        def act() -> bool:
            if absent and name in self.objects:
                return False
            for watcher in self.watchers:
                watcher(name, content)
            self.replaced += name in self.objects
            self.objects[name] = content
            return True

        if not self.world.effect(f"PUT {name}", act):
            raise TakenError(name)

    def get(self, name: str) -> Any:
        """The content, or None."""
        return self.world.effect(f"GET {name}", lambda: self.objects.get(name))

    def names(self, folder: str) -> list[str]:
        """Those in a folder."""
        return self.world.effect(f"LIST {folder}", lambda: list(self.objects.folders[folder]))

    def delete(self, name: str) -> None:
        """Whether it is there or not."""

        def act() -> None:
            if name in self.objects:
                del self.objects[name]

        self.world.effect(f"DELETE {name}", act)


class HadoopPath:
    """org.apache.hadoop.fs.Path, and the status of one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def getFileSystem(self, settings: S3) -> HadoopFileSystem:  # noqa: N802
        return HadoopFileSystem(settings)

    def getPath(self) -> HadoopPath:  # noqa: N802
        return self

    def getName(self) -> str:  # noqa: N802
        return self.name.rpartition("/")[2]


class HadoopFileSystem:
    """The calls of `HadoopFiles`."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3

    def listStatus(self, path: HadoopPath) -> list[HadoopPath]:  # noqa: N802
        return [HadoopPath(name) for name in _answered(lambda: self._s3.names(path.name.removesuffix("/")))]

    def open(self, path: HadoopPath) -> HadoopStream:
        content = _answered(lambda: self._s3.get(path.name))
        if content is None:
            raise JavaError("java.io.FileNotFoundException")
        return HadoopStream(self._s3, path.name, content)

    def createFile(self, path: HadoopPath) -> HadoopStream:  # noqa: N802
        return HadoopStream(self._s3, path.name)

    def delete(self, path: HadoopPath, _: bool) -> None:
        _answered(lambda: self._s3.delete(path.name))


class HadoopStream:
    """A builder, the stream that it makes, and one that is read."""

    def __init__(self, s3: S3, name: str, content: bytes = b"") -> None:
        self._s3, self._name, self.content = s3, name, content
        self._absent = self._writes = False

    def overwrite(self, _: bool) -> HadoopStream:
        return self

    def recursive(self) -> HadoopStream:
        return self

    def must(self, option: str, value: bool) -> HadoopStream:
        assert option == "fs.option.create.conditional.overwrite"
        self._absent = value
        return self

    def build(self) -> HadoopStream:
        self._writes = True
        return self

    def write(self, content: bytes) -> None:
        self.content += content

    def close(self) -> None:
        if self._writes:
            try:
                _answered(lambda: self._s3.put(self._name, self.content, absent=self._absent))
            except TakenError:
                raise JavaError("org.apache.hadoop.fs.s3a.RemoteFileChangedException") from None


def _answered(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except NoAnswerError as error:
        raise JavaError(f"org.apache.hadoop.fs.s3a.AWSApiCallTimeoutException: {error}") from None


@dataclass(frozen=True)
class Entry:
    """A file of a table's log."""

    number: int  # among all entries of the world: no two are equal
    gone: frozenset[int] | None  # the places of rows that it takes out; None: all
    rows: tuple[Row, ...]
    txn: tuple[str, int] | None
    note: str | None
    when: float
    by: Process


@dataclass(frozen=True)
class Snapshot:
    """A table at a version."""

    version: int = -1
    rows: list[Row] = field(default_factory=list)
    batches: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def after(self, entry: Entry) -> Snapshot:
        """The next version."""
        gone = entry.gone
        stay = [] if gone is None else [row for row in self.rows if place(row) not in gone] if gone else self.rows
        batches = {**self.batches, entry.txn[0]: entry.txn[1]} if entry.txn else self.batches
        return Snapshot(self.version + 1, [*stay, *entry.rows], batches, [*self.entries, entry])


EMPTY: Final = Snapshot()


class Job(Protocol):
    """Of a session."""

    cancelled: bool


def place(row: Row) -> int:
    """What tells a record from others."""
    offset: int = row["offset"]
    return offset


class Delta:
    """Tables, whose commits are made as Delta makes them with a store that makes each by a conditional PUT."""

    is_conditional = True

    def __init__(self, s3: S3) -> None:
        self.s3, self.world = s3, s3.world
        self.contract = 0  # of the jobs that read these tables
        self._numbers = count()
        self._versions: dict[str, list[Snapshot]] = {}
        self._replaced = 0

    def now(self, path: str, last: int | None = None) -> Snapshot:
        """As the storage has it, until a version: for a judge."""
        if self._replaced != self.s3.replaced:
            self._versions, self._replaced = {}, self.s3.replaced
        versions, log = self._versions.setdefault(path, [EMPTY]), f"{path}/_delta_log/"
        while (entry := self.s3.objects.get(f"{log}{len(versions) - 1}")) is not None:
            versions.append(versions[-1].after(entry))
        return versions[: None if last is None else last + 2][-1]

    def snapshot(self, path: str, last: int | None = None) -> Snapshot:
        """As a job sees it."""
        return self.world.effect(f"reads the log of {path}", lambda: self.now(path, last))

    def commit(self, path: str, rows: Iterable[Row], options: dict[str, Any], job: Job) -> None:
        """NoAnswerError, or ConcurrentModificationError when another one has made the next version meanwhile."""
        before = self.snapshot(path)
        txn = (options["txnAppId"], int(options["txnVersion"])) if "txnAppId" in options else None
        if txn and before.batches.get(txn[0], -1) >= txn[1]:
            self.world.tell(f"{path}: {txn} is in already")
            return
        job.cancelled = False
        self.world.step(20.0)  # Spark computes
        if job.cancelled:
            raise ConcurrentModificationError("Job cancelled")
        note, when = options.get("userMetadata"), self.world.now
        entry = Entry(next(self._numbers), options["gone"], tuple(rows), txn, note, when, self.world.task.process)
        name = f"{path}/_delta_log/{before.version + 1}"
        try:
            self.s3.put(name, entry, absent=self.is_conditional)
        except (NoAnswerError, TakenError):  # as ConditionalLogStore.java: a lost answer is looked up
            there = self.s3.get(name)
            if there is None:
                raise
            if there is not entry:
                raise ConcurrentModificationError(f"{name}: another job has made this version") from None


class ConcurrentModificationError(Exception):
    """Delta's, or Hadoop's."""

    java_exception: Final = None
