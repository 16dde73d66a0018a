"""The one way in which every job makes its Spark session."""

import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARTS: Final = 2
# Some 70,000 curated clicks as they lie in the lake. Eight years are 70 such parts, and fit a driver of 1 GB.
PART_BYTES: Final = 12 * 2**20
# Jars, master, memory and S3 access are the spark-submit command's and the host's affair, never the code's.
SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Some thousand clicks a day: each task more costs its start and a small file.
    "spark.sql.shuffle.partitions": str(PARTS),
    "spark.databricks.delta.snapshotPartitions": str(PARTS),
    # A micro-batch of the hot stream compiles 230 classes. Spark keeps 100, and would compile all of them each time.
    "spark.sql.codegen.cache.maxEntries": "1000",
}


def session(app_name: str, settings: Mapping[str, str] | None = None) -> "SparkSession":
    """The session of a job: UTC, ANSI, Delta tables by path. `settings` win over the ones above; tests use them."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of the workers, which run the contract
    builder = SparkSession.builder.appName(app_name)
    for name, value in {**SETTINGS, **(settings or {})}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")  # a task's log is for people: progress lines and errors
    return spark


def shuffle_like(rows: "DataFrame") -> None:
    """Let what is computed from now on be shuffled in as many parts as these rows of the lake want."""
    size = rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()
    rows.sparkSession.conf.set("spark.sql.shuffle.partitions", max(PARTS, math.ceil(size / PART_BYTES)))
