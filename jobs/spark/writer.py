"""How a table of the lake is written: by one writer at a time, and a batch of a stream only once."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.console import say
from jobs.errors import JobError
from jobs.known_errors import infrastructure_error
from jobs.spark.lease import Lease, state_of
from jobs.spark.lease_files import Files, HadoopFiles, LocalFiles
from jobs.spark.tables import PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMPACT_FROM: Final = 32  # small files too many
SMALL_FILE: Final = 32 * 2**20  # bytes; larger ones stay as they are, else a table would be rewritten again and again
FEW_ROWS: Final = 50_000  # to be put into one file
KEEP_REPLACED_HOURS: Final = 7 * 24  # a reader or a stream that began before still finds the files it knows
CHANGE_FEED: Final = "delta.enableChangeDataFeed"  # its commits tell which rows came and went
COMPARED: Final = "compared"  # instead of a stream's id: of two such appends at once Delta refuses one
LEASE_FOLDER: Final = "_writer"  # a name that Delta passes over

_leases: Final[list[Lease]] = []  # of this job


@contextmanager
def one_writer(spark: SparkSession, path: str) -> Iterator[None]:
    """Hold the right to write `path` (a table's folder or a checkpoint); JobError when another job holds it.

    Two Delta writers on S3 lose acknowledged commits, so the second one is refused, on whatever host it runs.
    """
    jvm: Any = spark._jvm
    name = _absolute(path)
    files = files_in(spark, f"{name}/{LEASE_FOLDER}")
    # The JVM's process: it commits, also for a while after this one was killed.
    state = state_of(str(spark.sparkContext.appName), jvm.java.lang.ProcessHandle.current().pid())
    lease = Lease(name, files, state, on_loss=spark.sparkContext.cancelAllJobs)
    try:
        lease.take()
    except OSError as error:
        known = infrastructure_error(error)
        kind = type(known) if known else JobError
        raise kind(f"cannot take the lease of {name}: {known or error}") from None
    _leases.append(lease)
    try:
        yield
    except Exception as error:
        if lease.is_lost:  # Spark only says that the jobs were cancelled
            raise lease.loss from error
        raise
    else:
        fence()  # what was written without one, such as a checkpoint
    finally:
        _leases.remove(lease)
        try:
            lease.release()
        except OSError as error:
            say(f"cannot give back the lease of {name}, it runs out by itself: {error}")


def files_in(spark: SparkSession, folder: str) -> Files:
    """Small files in a folder of whatever file system."""
    name = _absolute(folder)
    return HadoopFiles(spark, name) if "://" in name else LocalFiles(Path(name))


def _absolute(path: str) -> str:
    name = path.rstrip("/").removeprefix("file://")
    return name if "://" in name else str(Path(name).resolve())


def fence() -> None:
    """JobError when this job has lost one of its leases, as after a long hang: call it right before each commit."""
    for lease in _leases:
        lease.fence()


def is_table(spark: SparkSession, path: str) -> bool:
    """Whether a Delta table is in this folder."""
    jvm: Any = spark._jvm
    return bool(jvm.io.delta.tables.DeltaTable.isDeltaTable(spark._jsparkSession, path))


def state(spark: SparkSession, path: str) -> Any:
    """Delta's own `Snapshot` of a table as it is now: SQL tells the same a hundred times slower."""
    jvm: Any = spark._jvm
    none = jvm.scala.Option.empty()
    return _log(spark, path).update(False, none, none)


def _log(spark: SparkSession, path: str) -> Any:
    jvm: Any = spark._jvm
    return jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path)


def batches(spark: SparkSession, path: str) -> dict[str, int]:
    """The last batch that a Delta table has of each stream (the id of its checkpoint)."""
    if not is_table(spark, path):
        return {}
    jvm: Any = spark._jvm
    return dict(jvm.scala.jdk.javaapi.CollectionConverters.asJava(state(spark, path).transactions()))


def stream_of(batch: DataFrame) -> str:
    """The id of the checkpoint that a micro-batch belongs to."""
    stream = batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
    if not stream:
        raise RuntimeError("a micro-batch is known inside foreachBatch only")
    return stream


def missing(rows: DataFrame, *paths: str) -> DataFrame:
    """The records among `rows` (cached: they are read more than once) that none of these Delta tables holds."""
    from pyspark.sql import functions as F

    columns, spark = rows.columns, rows.sparkSession
    (ends,) = rows.agg(F.min("offset").alias("first"), F.max("offset").alias("last")).collect()
    for path in filter(lambda path: is_table(spark, path), paths):
        there = spark.read.format("delta").load(path)
        # By the range Delta passes over the files that hold none of them.
        near = there.where(F.col("offset").between(ends["first"], ends["last"])).select(*PLACE)
        rows = rows.join(near, on=PLACE, how="left_anti")
    return rows.select(*columns)


def append_missing(rows: DataFrame, path: str) -> int:
    """Append the records among `rows` (cached) that the Delta table does not hold; how many."""
    number = next_version(rows.sparkSession, path)
    new = missing(rows, path).persist()
    try:
        count = new.count()
        if count:
            append_compared(new, path, number, count)
    finally:
        new.unpersist()
    return count


def next_version(spark: SparkSession, path: str) -> int:
    """The version that the next commit of a Delta table makes; ask before it is read."""
    return int(state(spark, path).version()) + 1 if is_table(spark, path) else 0


def append_compared(rows: DataFrame, path: str, number: int, count: int) -> None:
    """Append rows that were compared with the table whose `next_version` was `number`; few (`count`) to one file.

    JobError, and they are not appended, when the commit of a job that had hung has come in between.
    """
    note = uuid.uuid4().hex
    append(rows, path, count, txnAppId=COMPARED, txnVersion=str(number), userMetadata=note)
    if next(commits(rows.sparkSession, path)).note != note:
        raise JobError(f"{path}: a job that hung has written it after all; run this one again")


def append_once(rows: DataFrame, path: str, batch_id: int, count: int | None = None) -> None:
    """Append a batch of a stream, as `append` does it, unless this batch of this stream is in the table."""
    append(rows, path, count, txnAppId=stream_of(rows), txnVersion=str(batch_id))


def append(rows: DataFrame, path: str, count: int | None = None, **options: str) -> None:
    """Append to a Delta table, which is made when there is none; few rows (`count`, if it is known) to one file.

    A table of an earlier version of the stream has a folder a day, each of which gets one file, and may not note its
    changes yet.
    """
    spark = rows.sparkSession
    if is_table(spark, path):
        table = state(spark, path).metadata()
        if not table.configuration().contains(CHANGE_FEED):
            fence()
            spark.sql(f"ALTER TABLE {sql_name(path)} SET TBLPROPERTIES ('{CHANGE_FEED}' = 'true')")
        if folders := table.partitionColumns().mkString("\n"):
            rows, count = rows.repartition(*folders.splitlines()), None
    if count is not None and count < FEW_ROWS:
        rows = rows.repartition(1)  # coalesce would let one task do all that comes before
    fence()
    rows.write.format("delta").mode("append").options(**options, **{CHANGE_FEED: "true"}).save(path)


class Commit(NamedTuple):
    """What a table's log says of a commit: when (UTC), what it did, how many rows it has written, the writer's note."""

    when: dt.datetime
    operation: str
    rows: int
    note: str | None


def commits(spark: SparkSession, path: str, version: int | None = None) -> Iterator[Commit]:
    """The commits of a table from `version`, or from the newest one, back to the oldest that the log still has.

    Each is one small file; SQL's DESCRIBE HISTORY starts a Spark job to read them.
    """
    jvm: Any = spark._jvm
    log = _log(spark, path)
    settings = log.newDeltaHadoopConf()
    files = log.logPath().getFileSystem(settings)
    delta = jvm.org.apache.spark.sql.delta
    for number in range(state(spark, path).version() if version is None else version, -1, -1):
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


def compact(spark: SparkSession, path: str) -> bool:
    """Put a table's small files together when they have become many, and delete the ones that were replaced long ago.

    Whether they had.

    Readers and streams of the table do not notice. Only for the one writer of the table; Delta's own autoCompact
    rewrites a table without partitions after each batch.
    """
    small = _small_files(spark, path) if is_table(spark, path) else []
    partitions = {file.rpartition("/")[0] for file in small}
    if len(small) - len(partitions) < COMPACT_FROM:
        return False
    fence()
    for name, size in (("minFileSize", SMALL_FILE), ("maxFileSize", 2 * SMALL_FILE)):
        spark.conf.set(f"spark.databricks.delta.optimize.{name}", str(size))
    spark.sql(f"OPTIMIZE {sql_name(path)}").collect()
    vacuum(spark, path)
    say(f"put {len(small):,} small files of {path} together")
    return True


def _small_files(spark: SparkSession, path: str) -> list[str]:
    from pyspark.sql import DataFrame

    files = DataFrame(state(spark, path).allFiles().toDF(), spark)
    return [row.path for row in files.where(files["size"] < SMALL_FILE).select("path").collect()]


def vacuum(spark: SparkSession, path: str) -> None:
    """Delete the files of a table that were replaced long ago."""
    spark.sql(f"VACUUM {sql_name(path)} RETAIN {KEEP_REPLACED_HOURS} HOURS").collect()


def sql_name(path: str) -> str:
    """A table by its folder."""
    return f"delta.`{path.replace('`', '``')}`"
