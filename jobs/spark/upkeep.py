"""The upkeep of a table of the lake: small files are compacted, replaced ones are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobs.console import say
from jobs.spark.delta_log import is_table, small_files
from jobs.spark.one_writer import fence
from jobs.spark.tables import sql_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COMPACT_FROM: Final = 32  # small files too many
SMALL_FILE: Final = 32 * 2**20  # bytes; larger files stay as they are, else a table would be rewritten again and again
KEEP_REPLACED_HOURS: Final = 7 * 24  # readers and streams that started earlier still find their files


def compact(spark: SparkSession, path: str) -> bool:
    """Compact a table's small files once there are many, and delete the ones replaced long ago.

    Returns whether there were many.

    Readers and streams of the table do not notice. Only for the one writer of the table; Delta's own autoCompact
    rewrites a table without partitions after each batch.
    """
    small = small_files(spark, path, SMALL_FILE) if is_table(spark, path) else []
    partitions = {file.rpartition("/")[0] for file in small}
    if len(small) - len(partitions) < COMPACT_FROM:
        return False
    fence()
    for name, size in (("minFileSize", SMALL_FILE), ("maxFileSize", 2 * SMALL_FILE)):
        spark.conf.set(f"spark.databricks.delta.optimize.{name}", str(size))
    spark.sql(f"OPTIMIZE {sql_name(path)}").collect()
    vacuum(spark, path)
    say(f"compacted {len(small):,} small files of {path}")
    return True


def vacuum(spark: SparkSession, path: str) -> None:
    """Delete the files of a table that were replaced long ago."""
    spark.sql(f"VACUUM {sql_name(path)} RETAIN {KEEP_REPLACED_HOURS} HOURS").collect()
