"""What the log of a Delta table says, through Delta's own classes: SQL takes a hundred times as long.

They are not a public API, and nothing else in the project names them: test_delta_log.py says what to check when one
is gone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.spark.jvm import as_rows, java_session, jvm_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHANGE_FEED: Final = "delta.enableChangeDataFeed"  # its commits record which rows were added and removed


@dataclass(frozen=True)
class TableState:
    """A table as it is now. One that was deleted and recreated has another id; its `folders` are columns."""

    table_id: str
    version: int
    notes_changes: bool
    folders: tuple[str, ...]


def is_table(spark: SparkSession, path: str) -> bool:
    """Whether this folder holds a Delta table."""
    return bool(jvm_of(spark).io.delta.tables.DeltaTable.isDeltaTable(java_session(spark), path))


def newest(spark: SparkSession, path: str) -> TableState:
    """The state of a table at its newest version."""
    found = _snapshot(spark, path)
    table = found.metadata()
    return TableState(
        str(table.id()),
        int(found.version()),
        bool(table.configuration().contains(CHANGE_FEED)),
        tuple(table.partitionColumns().mkString("\n").splitlines()),
    )


def next_version(spark: SparkSession, path: str) -> int:
    """The version that the next commit of a Delta table makes; ask before it is read."""
    return newest(spark, path).version + 1 if is_table(spark, path) else 0


def batches(spark: SparkSession, path: str) -> dict[str, int]:
    """The last batch that a Delta table has of each stream (the id of its checkpoint)."""
    if not is_table(spark, path):
        return {}
    return dict(jvm_of(spark).scala.jdk.javaapi.CollectionConverters.asJava(_snapshot(spark, path).transactions()))


def small_files(spark: SparkSession, path: str, below: int) -> list[str]:
    """The files of a table that have fewer bytes."""
    files = as_rows(spark, _snapshot(spark, path).allFiles().toDF())
    return [row.path for row in files.where(files["size"] < below).select("path").collect()]


def partitions(spark: SparkSession, path: str, column: str) -> set[str]:
    """The values of a partition column that a table has files of."""
    files = as_rows(spark, _snapshot(spark, path).allFiles().toDF())
    return {row.value for row in files.selectExpr(f"partitionValues['{column}'] AS value").distinct().collect()}


class Commit(NamedTuple):
    """A commit in a table's log: when (UTC), what it did, how many rows it wrote, the writer's note."""

    when: dt.datetime
    operation: str
    rows: int
    note: str | None


def commits(spark: SparkSession, path: str, version: int | None = None) -> Iterator[Commit]:
    """The commits of a table from `version`, or from the newest one, back to the oldest that the log still has.

    Each is one small file; SQL's DESCRIBE HISTORY starts a Spark job to read them.
    """
    log = _log(spark, path)
    settings = log.newDeltaHadoopConf()
    files = log.logPath().getFileSystem(settings)
    delta = jvm_of(spark).org.apache.spark.sql.delta
    for number in range(newest(spark, path).version if version is None else version, -1, -1):
        file = delta.util.FileNames.unsafeDeltaFile(log.logPath(), number)
        if not files.exists(file):
            return
        info = delta.DeltaHistoryManager.getCommitInfoOpt(log.store(), file, settings).get()
        when = dt.datetime.fromtimestamp(info.getTimestamp() / 1000, dt.UTC)
        rows = info.operationMetrics().get().get("numOutputRows")
        note = info.userMetadata()
        yield Commit(when, info.operation(), int(_or(rows, 0)), _or(note, None))


def _or(option: Any, otherwise: Any) -> Any:
    return option.get() if option.isDefined() else otherwise


def _snapshot(spark: SparkSession, path: str) -> Any:
    """Delta's `Snapshot`, brought up to date."""
    none = jvm_of(spark).scala.Option.empty()
    return _log(spark, path).update(False, none, none)


def _log(spark: SparkSession, path: str) -> Any:
    return jvm_of(spark).org.apache.spark.sql.delta.DeltaLog.forTable(java_session(spark), path)
