"""How rows are appended to a table of the lake: a batch of a stream only once, a record that is there not again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from jobs.errors import JobError
from jobs.spark.delta_log import CHANGE_FEED, commits, is_table, newest, next_version
from jobs.spark.one_writer import fence
from jobs.spark.session import run_of
from jobs.spark.tables import PLACE, sql_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW_ROWS: Final = 50_000  # to be put into one file
COMPARED: Final = "compared"  # instead of a stream's id: of two concurrent such writes Delta refuses one


def stream_of(batch: DataFrame) -> str:
    """The id of the checkpoint that a micro-batch belongs to."""
    stream = batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
    if not stream:
        raise RuntimeError("a micro-batch is known only inside foreachBatch")
    return stream


def missing(rows: DataFrame, *paths: str) -> DataFrame:
    """The records among `rows` (cached: they are read more than once) that none of these Delta tables holds."""
    from pyspark.sql import functions as F

    columns, spark = rows.columns, rows.sparkSession
    (ends,) = rows.agg(F.min("offset").alias("first"), F.max("offset").alias("last")).collect()
    for path in filter(lambda path: is_table(spark, path), paths):
        there = spark.read.format("delta").load(path)
        # With the range, Delta skips the files that have none of them.
        near = there.where(F.col("offset").between(ends["first"], ends["last"])).select(*PLACE)
        rows = rows.join(near, on=PLACE, how="left_anti")
    return rows.select(*columns)


def append_missing(rows: DataFrame, path: str) -> int:
    """Append the records among `rows` (cached) that the Delta table lacks; returns how many."""
    number = next_version(rows.sparkSession, path)
    new = missing(rows, path).persist()
    try:
        count = new.count()
        if count:
            append_compared(new, path, number, count)
    finally:
        new.unpersist()
    return count


def append_compared(rows: DataFrame, path: str, number: int, count: int) -> None:
    """Append rows that were compared with the table whose `next_version` was `number`; few (`count`) to one file.

    JobError, and nothing is appended, if the commit of a job that had hung has come in between.
    """
    note = f"{run_of(rows.sparkSession)} {uuid.uuid4().hex}".strip()
    append(rows, path, count, **as_version(number, note))
    require_written(rows.sparkSession, path, note)


def as_version(number: int, note: str) -> dict[str, str]:
    """Options of a write that is left out if another one with such options has made the version `number` or later."""
    return {"txnAppId": COMPARED, "txnVersion": str(number), "userMetadata": note}


def require_written(spark: SparkSession, path: str, note: str) -> None:
    """JobError unless the newest commit of a table is the one with this note."""
    if next(commits(spark, path)).note != note:
        raise JobError(f"{path}: a job that hung has written to it after all; run this one again")


def append_once(rows: DataFrame, path: str, batch_id: int, count: int | None = None) -> None:
    """Append a batch of a stream, as `append` does it, unless this batch of this stream is in the table."""
    append(rows, path, count, txnAppId=stream_of(rows), txnVersion=str(batch_id))


def append(rows: DataFrame, path: str, count: int | None = None, **options: str) -> None:
    """Append to a Delta table, creating it if needed; few rows (`count`, if known) go to one file.

    A table of an earlier version of the stream has a folder per day, each of which gets one file, and may not have its
    changes yet.
    """
    spark = rows.sparkSession
    if is_table(spark, path):
        table = newest(spark, path)
        if not table.notes_changes:
            fence()
            spark.sql(f"ALTER TABLE {sql_name(path)} SET TBLPROPERTIES ('{CHANGE_FEED}' = 'true')")
        if table.folders:
            rows, count = rows.repartition(*table.folders), None
    if count is not None and count < FEW_ROWS:
        rows = rows.repartition(1)  # coalesce would make one task do everything before it, too
    fence()
    rows.write.format("delta").mode("append").options(**options, **{CHANGE_FEED: "true"}).save(path)
