"""A session of Spark as the jobs call it, on simulated tables: a DataFrame is a list, computed when it is made."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from pyspark.errors.exceptions.base import StreamingQueryException

from jobs.spark.delta_log import Commit
from tests.simulation.storage import (
    EVERYTHING,
    S3,
    ConcurrentModificationError,
    Delta,
    HadoopPath,
    Row,
    Snapshot,
    place,
)
from tests.simulation.world import EPOCH, World

# ruff: noqa: N802, N803, N815 (Spark's names)


class Session:
    """SparkSession, its context, and what Java has of both."""

    conf = SimpleNamespace(set=lambda *_: None, get=lambda _, default: default)

    def __init__(self, delta: Delta, name: str) -> None:
        self.delta, self.appName = delta, name
        self.stream = ""
        self.cancelled = False
        self.view = Frame(self, [])
        self._jvm = JVM

    def _self(self) -> Session:
        return self

    sparkContext = _jsparkSession = property(_self)
    sessionState = _self

    def newHadoopConf(self) -> S3:
        return self.delta.s3

    def cancelAllJobs(self) -> None:
        self.cancelled = True

    def setLogLevel(self, _: str) -> None:
        """Nothing is logged."""

    def getLocalProperty(self, _: str) -> str:
        return self.stream

    @property
    def read(self) -> Reader:
        return Reader(self)

    def sql(self, statement: str) -> Frame:
        """The one statement of these protocols: the replay's MERGE."""
        path = re.search("MERGE INTO delta.`(.*)` AS", statement)
        assert path
        left = [row for row in self.view.rows if row["reason"]]
        self.delta.commit(path[1], left, {"gone": frozenset(map(place, self.view.rows))}, self)
        return self.view


class ProcessHandle:
    """java.lang.ProcessHandle, of the running process."""

    @staticmethod
    def current() -> SimpleNamespace:
        pid = World.now_running.task.process.pid
        return SimpleNamespace(pid=lambda: pid)


class JavaTable:
    """DeltaTable and DeltaLog."""

    def __init__(self, delta: Delta, path: str) -> None:
        self._delta, self._path = delta, path

    @staticmethod
    def isDeltaTable(spark: Session, path: str) -> bool:
        return spark.delta.snapshot(path).version >= 0

    @staticmethod
    def forTable(spark: Session, path: str) -> JavaTable:
        return JavaTable(spark.delta, path)

    def update(self, *_: object) -> JavaSnapshot:
        return JavaSnapshot(self._delta, self._path)


class JavaSnapshot:
    """Delta's Snapshot, as Java has it."""

    def __init__(self, delta: Delta, path: str) -> None:
        self._snapshot: Snapshot = delta.snapshot(path)
        self._path = path

    def metadata(self) -> JavaSnapshot:
        return self

    configuration = partitionColumns = metadata

    def contains(self, _: str) -> bool:
        return True

    def mkString(self, _: str) -> str:
        return ""

    def id(self) -> str:
        return self._path

    def version(self) -> int:
        return self._snapshot.version

    def transactions(self) -> dict[str, int]:
        return self._snapshot.batches


def _names(**parts: object) -> SimpleNamespace:
    """Java's packages and classes: `a__b=c` is c, named a.b."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        *folders, last = name.split("__")
        place_of = found
        for folder in folders:
            place_of = place_of.setdefault(folder, SimpleNamespace()).__dict__
        place_of[last] = part
    return SimpleNamespace(**found)


JVM = _names(
    java__lang__ProcessHandle=ProcessHandle,
    org__apache__hadoop__fs__Path=HadoopPath,
    org__apache__commons__io__IOUtils=SimpleNamespace(toByteArray=lambda it: it.content),
    org__apache__spark__sql__delta__DeltaLog=JavaTable,
    io__delta__tables__DeltaTable=JavaTable,
    scala__Option=SimpleNamespace(empty=lambda: None),
    scala__jdk__javaapi__CollectionConverters=SimpleNamespace(asJava=lambda it: it),
)


class Reader:
    """DataFrameReader of Delta tables."""

    def __init__(self, spark: Session) -> None:
        self._spark = spark
        self._version: int | None = None

    def format(self, _: str) -> Reader:
        return self

    def option(self, name: str, value: int) -> Reader:
        assert name == "versionAsOf"
        self._version = value
        return self

    def load(self, path: str) -> Frame:
        return Frame(self._spark, self._spark.delta.snapshot(path, self._version).rows)


class Column:
    """An expression over a row."""

    def __init__(self, of: Callable[[Row], Any]) -> None:
        self.of = of

    def __eq__(self, other: object) -> Column:  # type: ignore[override]
        return Column(lambda row: self.of(row) == other)

    __hash__ = None  # type: ignore[assignment]

    def __invert__(self) -> Column:
        return Column(lambda row: not self.of(row))

    def isin(self, *values: Any) -> Column:
        return Column(lambda row: self.of(row) in values)

    def between(self, first: Any, last: Any) -> Column:
        return Column(lambda row: first is not None and first <= self.of(row) <= last)


class Functions:
    """pyspark.sql.functions, as far as these protocols use it."""

    @staticmethod
    def lit(value: Any) -> Column:
        return Column(lambda _: value)

    @staticmethod
    def col(name: str) -> Column:
        return Column(operator.itemgetter(name))

    @staticmethod
    def min(name: str) -> Aggregate:
        return Aggregate(min, name)

    @staticmethod
    def max(name: str) -> Aggregate:
        return Aggregate(max, name)


class Aggregate:
    """min or max of a column."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name, self.alias_ = function, name, name

    def alias(self, name: str) -> Aggregate:
        self.alias_ = name
        return self

    def of(self, rows: list[Row]) -> Any:
        return self._function((row[self._name] for row in rows), default=None)


class Frame:
    """A DataFrame, also its writer."""

    columns = ("topic", "partition", "offset", "kafka_ts", "bad")

    def __init__(self, spark: Session, rows: list[Row]) -> None:
        self.sparkSession, self.rows = spark, rows
        self._mode = "append"
        self._options: dict[str, Any] = {}

    def _same(self, *_: object, **__: object) -> Frame:
        return self

    persist = unpersist = repartition = select = withColumn = drop = format = partitionBy = _same
    sortWithinPartitions = _same

    @property
    def event_date(self) -> Column:
        return Functions.col("event_date")

    @property
    def write(self) -> Frame:
        return Frame(self.sparkSession, self.rows)

    def createOrReplaceTempView(self, _: str) -> None:
        self.sparkSession.view = self

    def where(self, condition: Column) -> Frame:
        return Frame(self.sparkSession, [row for row in self.rows if condition.of(row)])

    def unionByName(self, other: Frame) -> Frame:
        return Frame(self.sparkSession, [*self.rows, *other.rows])

    def dropDuplicates(self, _: object) -> Frame:
        return Frame(self.sparkSession, list({place(row): row for row in self.rows}.values()))

    def join(self, other: Frame, on: object, how: str) -> Frame:
        assert (how, on) == ("left_anti", list(self.columns[:4]))
        there = {place(row) for row in other.rows}
        return Frame(self.sparkSession, [row for row in self.rows if place(row) not in there])

    def agg(self, *aggregates: Aggregate) -> Frame:
        return Frame(self.sparkSession, [{each.alias_: each.of(self.rows) for each in aggregates}])

    def collect(self) -> list[Row]:
        return self.rows

    def count(self) -> int:
        return len(self.rows)

    def mode(self, mode: str) -> Frame:
        self._mode = mode
        return self

    def option(self, name: str, value: object) -> Frame:
        self._options[name] = str(value)
        return self

    def options(self, **values: str) -> Frame:
        self._options.update(values)
        return self

    def save(self, path: str) -> None:
        spark = self.sparkSession
        where = self._options.get("replaceWhere")  # places, see the harness
        gone = EVERYTHING if self._mode == "overwrite" else frozenset[int]()
        if where is not None:
            gone = frozenset(map(int, where.split()))
        spark.delta.commit(path, self.rows, {**self._options, "gone": gone}, spark)


def commits(spark: Session, path: str, version: int | None = None) -> Iterator[Commit]:
    """delta_log.commits."""
    entries = spark.delta.snapshot(path).entries
    for entry in reversed(entries if version is None else entries[: version + 1]):
        yield Commit(moment(entry.when), "WRITE", len(entry.rows), entry.note)


def moment(seconds: float) -> Any:
    """A datetime of the world's true time."""
    return dt.datetime.fromtimestamp(EPOCH + seconds, dt.UTC)


class Stream:
    """A stream from a topic of one partition, and its query; each reads all that is there, in batches."""

    BATCH = 3

    def __init__(self, spark: Session, topic: list[Row]) -> None:
        self.sparkSession, self._topic = spark, topic
        self._write: Callable[[Frame, int], None] = lambda *_: None
        self._checkpoint = ""

    @property
    def writeStream(self) -> Stream:
        return self

    def foreachBatch(self, write: Callable[[Frame, int], None]) -> Stream:
        self._write = write
        return self

    def option(self, name: str, value: str) -> Stream:
        assert name == "checkpointLocation"
        self._checkpoint = value
        return self

    def trigger(self, *, availableNow: bool) -> Stream:
        assert availableNow
        return self

    def start(self) -> Stream:
        return self

    def awaitTermination(self) -> None:
        try:
            self._run()
        except Exception as error:
            raise StreamingQueryException(str(error)) from error

    def _run(self) -> None:
        spark = self.sparkSession
        s3, world = spark.delta.s3, spark.delta.world
        spark.stream = s3.get(f"{self._checkpoint}/metadata")
        if not spark.stream:
            spark.stream = f"stream{world.chance.getrandbits(30)}"
            s3.put(f"{self._checkpoint}/metadata", spark.stream, absent=True)
        ends = self._ends("offsets")
        done = max(self._ends("commits"), default=-1)
        last = max(ends, default=-1)
        all_there = world.effect("asks Kafka for its end", lambda: len(self._topic))
        end = s3.get(f"{self._checkpoint}/offsets/{last}") if ends else 0
        if last > done:
            begin = s3.get(f"{self._checkpoint}/offsets/{last - 1}") if last else 0
            self._batch(last, begin, end)
        while end < all_there:
            begin, end, last = end, min(all_there, end + self.BATCH), last + 1
            if last in self._ends("offsets"):
                raise ConcurrentModificationError(f"another stream has made batch {last}")
            s3.put(f"{self._checkpoint}/offsets/{last}", end, absent=False)  # Spark looks, and then renames
            self._batch(last, begin, end)

    def _ends(self, kind: str) -> list[int]:
        return [int(name) for name in self.sparkSession.delta.s3.names(f"{self._checkpoint}/{kind}")]

    def _batch(self, number: int, begin: int, end: int) -> None:
        spark = self.sparkSession
        World.now_running.tell(f"batch {number}: records {begin} to {end}")
        self._write(Frame(spark, self._topic[begin:end]), number)
        spark.delta.s3.put(f"{self._checkpoint}/commits/{number}", "", absent=False)
