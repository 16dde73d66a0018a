"""Curated stream → analytics mart: the four cold tables, recomputed in full from every curated click."""

import argparse
import sys
import time
import uuid
from typing import TYPE_CHECKING

from jobs.cli import Data, JobError, flow, main, say
from jobs.spark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Eight years are 5 million clicks: in so many parts, and cached on disk, they fit a driver of 1 GB. Of a few days
# Spark puts the parts together again.
SETTINGS = {"spark.sql.shuffle.partitions": "64"}
ROWS_A_FILE = 100_000  # load_postgres holds one or two files in memory


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="analytics_mart_etl", description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", tables.CLICKS))],
        writes=[Data("lake", tables.table_path("{mart-path}", name)) for name in tables.COLD_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Read the clicks, compute, overwrite the four tables; all four commits carry the same run id."""
    from pyspark import StorageLevel

    from jobs.spark.cold_marts import compute, prepared
    from jobs.spark.session import session
    from jobs.spark.writer import fence, is_table, one_writer

    spark = session("analytics_mart_etl", SETTINGS)
    source = tables.table_path(options.curated_path, tables.CLICKS)
    if not is_table(spark, source):
        raise JobError(f"there is no curated stream in {source}: run tripclick_streaming_curated first")
    run_id = uuid.uuid4().hex
    with one_writer(spark, options.mart_path):
        started = time.monotonic()
        curated = spark.read.format("delta").load(source)
        clicks = prepared(curated).persist(StorageLevel.DISK_ONLY)
        kept, read = clicks.count(), curated.count()
        if not kept:
            raise JobError(f"no click in {source}: run a producer and tripclick_streaming_curated first")
        say(f"read {read:,} clicks of {source}, kept {kept:,} (each once), took {time.monotonic() - started:.1f} s")
        for table, mart in compute(clicks, _quarantine(spark, options.curated_path)).items():
            started = time.monotonic()
            path = tables.table_path(options.mart_path, table)
            writer = mart.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
            fence()
            writer.option("userMetadata", run_id).option("maxRecordsPerFile", ROWS_A_FILE).save(path)
            say(f"wrote {table} to {path}, took {time.monotonic() - started:.1f} s")
    say(f"run {run_id} is complete")


def _quarantine(spark: "SparkSession", curated_path: str) -> "DataFrame":
    """The records in quarantine; none when the stream has not made that table."""
    from jobs.spark.writer import is_table

    path = tables.table_path(curated_path, tables.QUARANTINE)
    if not is_table(spark, path):
        return spark.createDataFrame([], tables.QUARANTINE_SCHEMA)
    return spark.read.format("delta").load(path)


if __name__ == "__main__":
    sys.exit(main(parser(), run))
