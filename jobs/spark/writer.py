"""How a table of the lake is written: by one writer at a time, and a batch of a stream only once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import JobError, outside, say
from jobs.spark.lease import Lease, state_of
from jobs.spark.lease_files import Files, HadoopFiles, LocalFiles
from jobs.spark.tables import PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMPACT_FROM: Final = 32  # files too many: a batch adds one a partition
KEEP_REPLACED_HOURS: Final = 7 * 24  # a reader or a stream that began before still finds the files it knows
CHANGE_FEED: Final = "delta.enableChangeDataFeed"  # its commits tell which rows came and went
LEASE_FOLDER: Final = "_writer"  # a name that Delta passes over

_leases: Final[list[Lease]] = []  # of this job


@contextmanager
def one_writer(spark: "SparkSession", path: str) -> Iterator[None]:
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
        raise JobError(f"cannot take the lease of {name}: {outside(error) or error}") from None
    _leases.append(lease)
    try:
        yield
    except Exception as error:
        if lease.is_lost:  # Spark only says that the jobs were cancelled
            raise lease.loss from error
        raise
    finally:
        _leases.remove(lease)
        try:
            lease.release()
        except OSError as error:
            say(f"cannot give back the lease of {name}, it runs out by itself: {error}")


def files_in(spark: "SparkSession", folder: str) -> Files:
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


def is_table(spark: "SparkSession", path: str) -> bool:
    """Whether a Delta table is in this folder."""
    jvm: Any = spark._jvm
    return bool(jvm.io.delta.tables.DeltaTable.isDeltaTable(spark._jsparkSession, path))


def state(spark: "SparkSession", path: str) -> Any:
    """Delta's own `Snapshot` of a table as it is now: SQL tells the same a hundred times slower."""
    jvm: Any = spark._jvm
    none = jvm.scala.Option.empty()
    return jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, path).update(False, none, none)


def missing(rows: "DataFrame", path: str, partition: str | None = None) -> "DataFrame":
    """The records among `rows` that the Delta table does not hold: after a lost checkpoint all is read again."""
    spark = rows.sparkSession
    if not is_table(spark, path):
        return rows
    there = spark.read.format("delta").load(path)
    keys = list(PLACE)
    if partition:
        keys.append(partition)
        values = [row[0] for row in rows.select(partition).distinct().collect()]
        there = there.where(there[partition].isin(values))  # prunes the folders that are read
    return rows.join(there.select(*keys), on=keys, how="left_anti").select(*rows.columns)


def append_missing(rows: "DataFrame", path: str, partition: str) -> int:
    """Append the records among `rows` that the Delta table does not hold; how many."""
    new = missing(rows, path, partition).persist()
    try:
        count = new.count()
        fence()
        if count:
            new.repartition(partition).write.format("delta").mode("append").partitionBy(partition).save(path)
    finally:
        new.unpersist()
    return count


def append_once(rows: "DataFrame", path: str, batch_id: int, partition: str | None = None) -> None:
    """Append a batch of a stream to a Delta table, unless this batch of this stream (its checkpoint) is in it."""
    query_id = rows.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
    if not query_id:
        raise RuntimeError("append_once works inside foreachBatch only")
    if partition:
        rows = rows.repartition(partition)  # a file a partition, not one for each task
    options = {"txnAppId": query_id, "txnVersion": str(batch_id), CHANGE_FEED: "true"}  # that one when it is created
    writer = rows.write.format("delta").mode("append").options(**options)
    fence()
    (writer.partitionBy(partition) if partition else writer).save(path)


def compact(spark: "SparkSession", path: str) -> bool:
    """Put a table's small files together when they have become many, and delete the ones that were replaced long ago.

    Whether they had.

    Readers and streams of the table do not notice. Only for the one writer of the table; Delta's own autoCompact
    rewrites a table without partitions after each batch.
    """
    files = spark.read.format("delta").load(path).inputFiles() if is_table(spark, path) else []
    partitions = {file.rpartition("/")[0] for file in files}
    if len(files) - len(partitions) < COMPACT_FROM:
        return False
    fence()
    spark.sql(f"OPTIMIZE {sql_name(path)}").collect()
    vacuum(spark, path)
    say(f"put {len(files):,} files of {path} together")
    return True


def vacuum(spark: "SparkSession", path: str) -> None:
    """Delete the files of a table that were replaced long ago."""
    spark.sql(f"VACUUM {sql_name(path)} RETAIN {KEEP_REPLACED_HOURS} HOURS").collect()


def note_changes(spark: "SparkSession", path: str) -> None:
    """Let a table of an earlier version of the stream note from now on which rows its commits bring."""
    if not is_table(spark, path):
        return
    if not state(spark, path).metadata().configuration().contains(CHANGE_FEED):
        fence()
        spark.sql(f"ALTER TABLE {sql_name(path)} SET TBLPROPERTIES ('{CHANGE_FEED}' = 'true')")


def sql_name(path: str) -> str:
    """A table by its folder."""
    return f"delta.`{path.replace('`', '``')}`"
