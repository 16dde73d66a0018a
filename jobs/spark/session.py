"""The one way in which every job makes its Spark session."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Jars, master, memory and S3 access are the spark-submit command's and the host's affair, never the code's.
SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Some thousand clicks a day: each task more costs its start and a small file.
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    # A micro-batch of the hot stream compiles 230 classes. Spark keeps 100, and would compile all of them each time.
    "spark.sql.codegen.cache.maxEntries": "1000",
}


def session(app_name: str, settings: Mapping[str, str] | None = None) -> "SparkSession":
    """The session of a job: UTC, ANSI, Delta tables by path. `settings` win over the ones above; tests use them."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app_name)
    for name, value in {**SETTINGS, **(settings or {})}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")  # a task's log is for people: progress lines and errors
    return spark
