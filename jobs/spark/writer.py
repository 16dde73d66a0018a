"""How a table of the lake is written: by one writer at a time, and a batch of a stream only once."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.cli import JobError, say

COMPACT_FROM: Final = 32  # files too many: a batch adds one a partition

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@contextmanager
def one_writer(spark: "SparkSession", path: str) -> Iterator[None]:
    """Hold the right to write `path` (a table's folder or a checkpoint); JobError when another job holds it.

    Two Delta writers on S3 lose acknowledged commits, so the second one is refused. The lock is a file's on this host
    and belongs to the JVM that writes: it ends with that process however that ends, and not before. All Spark jobs
    run on one host; jobs of several hosts it would not keep apart.
    """
    from py4j.protocol import Py4JJavaError

    jvm = spark._jvm
    assert jvm is not None  # noqa: S101  a classic session has one
    name = path.rstrip("/") if "://" in path else str(Path(path).resolve())
    file = Path(tempfile.gettempdir()) / f"tripclick-writer-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
    channel: Any = None
    try:
        channel = jvm.java.io.RandomAccessFile(str(file), "rw").getChannel()
        lock = channel.tryLock()
    except Py4JJavaError as error:
        if "OverlappingFileLock" not in str(error.java_exception):
            raise JobError(f"cannot lock {name}: {error.java_exception.getMessage()}; remove {file}") from None
        lock = None
    if lock is None:
        if channel:
            channel.close()
        raise JobError(f"another job on this host writes {name}: wait until it ends, or end it, then run this again")
    try:
        yield
    finally:
        channel.close()


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
