"""How every job creates its Spark session."""

from __future__ import annotations

import math
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.errors import NonRetryableError
from jobs.spark.jvm import planned_bytes, scratch_folder, submitted_settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARTS: Final = 2
# About 70,000 curated clicks in the lake. Eight years are 70 such parts, and fit a driver of 1 GB.
PART_BYTES: Final = 12 * 2**20
# Results depend on these: any other value is refused, whoever sets it.
CELLS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
# These make sure that a commit replaces no other one: see java/tripclick.
COMMITS = {
    "spark.delta.logStore.s3a.impl": "tripclick.ConditionalLogStore",
    "spark.delta.logStore.file.impl": "tripclick.LinkLogStore",
}
FIXED = {**CELLS, **COMMITS}
# Jars, master, memory and S3 access are set by the spark-submit command and the host, never by the code.
SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    **FIXED,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",  # a task's log is for people: progress lines and errors
    # A few thousand clicks per day: each further task costs its start and a small file.
    "spark.sql.shuffle.partitions": str(PARTS),
    # The log of a table has a few hundred files: each task would generate the code to read it again.
    "spark.databricks.delta.snapshotPartitions": "1",
    # A file beside each commit that repeats the log: it costs a query, and a stale one corrupts the table.
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    # To list the folders of a table that is vacuumed: by default 10,000 tasks.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(PARTS),
    # Rows persisted on disk are read once or twice: compressing them by column takes longer than writing them.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Rows that a Python worker gets at once, which may be lines of a megabyte.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 2**20),
    # To openlineage-spark, where there is one, a file of a table is the table.
    "spark.openlineage.dataset.removePath.pattern": r"(.*?)(?<remove>(/\w+=[^/]*)*/part-[^/]+)",
}
RUN: Final = "spark.tripclick.run"  # a setting of spark-submit: the run id of the DAG that starts the job
_NOTE: Final = "spark.databricks.delta.commitInfo.userMetadata"  # of each commit that has no note of its own
_JOB: Final = "spark.openlineage.appName"  # each run is one of the same job, whatever the application is called
_SUBMITTED = "PYSPARK_GATEWAY_PORT"  # in the environment of a program started by spark-submit


def session(app_name: str, settings: Mapping[str, str] | None = None) -> SparkSession:
    """The session of a job: UTC, ANSI, Delta tables by path; on a cluster the executors have the jobs' modules.

    The application's name and the commits contain the run id that spark-submit is given as RUN.

    `settings` override the ones above, and the options of spark-submit or of its host's
    spark-defaults.conf override both. JobError if they change what is FIXED.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of the workers
    submitted = _submitted()
    run = submitted.get(RUN, "")
    builder = SparkSession.builder.appName(f"{app_name} {run}".strip())
    wanted = {**SETTINGS, _JOB: app_name, **({_NOTE: run} if run else {}), **(settings or {})}
    if {**wanted, **submitted}.get("spark.master", "").startswith("local"):
        wanted["spark.authenticate"] = "true"  # a cluster's hosts have to be given its secret
    for name, value in wanted.items():
        if name not in submitted:
            builder = builder.config(name, value)
    spark = builder.getOrCreate()
    if not str(spark.sparkContext.master).startswith("local"):
        _send_modules(spark)
    return spark


def run_of(spark: SparkSession) -> str:
    """The run id of the DAG that has started this job; empty if nobody has said it."""
    return str(spark.conf.get(RUN, ""))


def _submitted() -> dict[str, str]:
    """The settings of spark-submit; none if Python itself starts the JVM."""
    if _SUBMITTED not in os.environ:
        return {}
    submitted = submitted_settings()
    for name, value in FIXED.items():
        if submitted.get(name, value).lower() != value.lower():
            raise NonRetryableError(
                f"spark-submit sets {name}={submitted[name]}, but the jobs need {value}: remove it from the command "
                "or from spark-defaults.conf"
            )
    return submitted


def _send_modules(spark: SparkSession) -> None:
    """Send the modules of `jobs` to the executors, whose hosts have no repository. Packages must be installed there."""
    root = Path(__file__).resolve().parents[2]
    archive = scratch_folder(spark) / "jobs.zip"  # executors need it as long as the session lives
    with zipfile.ZipFile(archive, "w") as modules:
        for path in sorted((root / "jobs").rglob("*.py")):
            modules.write(path, path.relative_to(root))
    spark.sparkContext.addPyFile(str(archive))


def shuffle_like(rows: DataFrame) -> int:
    """Set the number of shuffle partitions to what these rows of the lake need, or to more if given.

    How many.
    """
    spark = rows.sparkSession
    least = int(spark.sparkContext.getConf().get("spark.sql.shuffle.partitions") or PARTS)
    parts: int = max(least, math.ceil(planned_bytes(rows) / PART_BYTES))
    spark.conf.set("spark.sql.shuffle.partitions", parts)
    return parts


def side_by_side(spark: SparkSession, *calls: Callable[[], Any]) -> list[Any]:
    """Call them concurrently, since planning a query takes one core; returns their results, or raises the first error.

    It raises, even on a signal, only when all have ended; it cancels their running Spark jobs.
    """
    with ThreadPoolExecutor(len(calls)) as threads:
        running = [threads.submit(call) for call in calls]
        try:
            for each in as_completed(running):
                each.result()
        except BaseException:
            spark.sparkContext.cancelAllJobs()
            raise
    return [each.result() for each in running]
