"""How a table of the lake is written: by one writer at a time, and a batch of a stream only once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import JobError, say
from jobs.spark.lease import Lease, state_of
from jobs.spark.lease_files import Files, HadoopFiles, LocalFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMPACT_FROM: Final = 32  # files too many: a batch adds one a partition
LEASE_FOLDER: Final = "_writer"  # a name that Delta passes over

_leases: Final[list[Lease]] = []  # of this job


@contextmanager
def one_writer(spark: "SparkSession", path: str) -> Iterator[None]:
    """Hold the right to write `path` (a table's folder or a checkpoint); JobError when another job holds it.

    Two Delta writers on S3 lose acknowledged commits, so the second one is refused, on whatever host it runs.
    """
    jvm: Any = spark._jvm
    name = path.rstrip("/").removeprefix("file://")
    local = "://" not in name
    name = str(Path(name).resolve()) if local else name
    files: Files = LocalFiles(Path(name) / LEASE_FOLDER) if local else HadoopFiles(spark, f"{name}/{LEASE_FOLDER}")
    # The JVM's process: it commits, also for a while after this one was killed.
    state = state_of(str(spark.sparkContext.appName), jvm.java.lang.ProcessHandle.current().pid())
    lease = Lease(name, files, state, on_loss=spark.sparkContext.cancelAllJobs)
    try:
        lease.take()
    except OSError as error:
        raise JobError(f"cannot take the lease of {name}: {error}") from None
    _leases.append(lease)
    try:
        yield
    finally:
        _leases.remove(lease)
        lease.release()


def fence() -> None:
    """JobError when this job has lost one of its leases, as after a long hang: call it right before each commit."""
    for lease in _leases:
        lease.fence()


def is_table(spark: "SparkSession", path: str) -> bool:
    """Whether a Delta table is in this folder."""
    jvm: Any = spark._jvm
    return bool(jvm.io.delta.tables.DeltaTable.isDeltaTable(spark._jsparkSession, path))


def append_once(rows: "DataFrame", path: str, batch_id: int, partition: str | None = None) -> None:
    """Append a batch of a stream to a Delta table, unless this batch of this stream (its checkpoint) is in it."""
    query_id = rows.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
    if not query_id:
        raise RuntimeError("append_once works inside foreachBatch only")
    if partition:
        rows = rows.repartition(partition)  # a file a partition, not one for each task
    options = {"txnAppId": query_id, "txnVersion": str(batch_id)}
    writer = rows.write.format("delta").mode("append").options(**options)
    fence()
    (writer.partitionBy(partition) if partition else writer).save(path)


def compact(spark: "SparkSession", path: str) -> None:
    """Put a table's small files together when they have become many. Readers and streams of the table do not notice.

    Only for the one writer of the table; Delta's own autoCompact rewrites a table without partitions after each batch.
    """
    files = spark.read.format("delta").load(path).inputFiles() if is_table(spark, path) else []
    partitions = {file.rpartition("/")[0] for file in files}
    if len(files) - len(partitions) < COMPACT_FROM:
        return
    spark.sql(f"OPTIMIZE delta.`{path.replace('`', '``')}`").collect()
    say(f"put {len(files):,} files of {path} together")
