"""How a Spark driver of this machine starts: JVM options for short jobs, and an archive of the classes it loads.

`python -m stack.spark_start` creates the archive, as `make install` does, and prints the lines of spark-defaults.conf
that use it. A JVM that starts from it does not read and verify about 15,000 classes again. Without an archive, or with
that of another Java or PySpark, it starts normally.
"""

from __future__ import annotations

import os
import sysconfig
import tempfile

from jobs.spark.delta_log import CHANGE_FEED
from jobs.spark.jvm import gateway_of, map_in_arrow
from jobs.spark.session import session
from stack.machine import java_home
from stack.settings import HOST, SPARK_CLASSES, SPARK_JARS

# Spark jobs of seconds on two cores mostly start up; the first compiler and the serial collector halve that.
# The first compiler's own limit of code is 48 MB, and what a long test session compiles beyond it is interpreted.
# From 21 MB of classes on, Java would collect the whole heap for each third more; a job loads 40.
_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m -XX:MetaspaceSize=128m"
# Java says on stdout, a task's log, which archive it could not use; it works without.
SILENT = "-Xlog:cds*=off"


def settings(archive: str = f"SharedArchiveFile={SPARK_CLASSES}") -> dict[str, str]:
    """Spark's settings for a driver that starts fast; `archive` is Java's option to read or to write one."""
    return {
        # An archive only works with the class path it was created with, or a longer one. By default Spark's own jars
        # come after the folder of its settings, which differs between users.
        "spark.driver.extraClassPath": f"{sysconfig.get_path('purelib')}/pyspark/jars/*",
        "spark.driver.defaultJavaOptions": f'{_JVM} {SILENT} "-XX:{archive}"',
    }


def defaults() -> str:
    """The same as lines of spark-defaults.conf. A command's own `--driver-java-options` comes after them, and wins."""
    return "".join(f"{name} {value}\n" for name, value in settings().items())


def jars() -> str:
    """Spark's setting for the jars that the jobs need, as in the jobs' command."""
    return ",".join(str(jar) for jar in sorted(SPARK_JARS.glob("*.jar")))


def make_archive() -> None:
    """Archive the classes loaded by a small job that does what jobs do: Delta tables in and out, Python in between."""
    os.environ.update(JAVA_HOME=str(java_home()), SPARK_LOCAL_IP=HOST)
    unfinished = SPARK_CLASSES.with_suffix(".part")
    spark = session(
        "spark-classes",
        {"spark.master": "local[2]", "spark.jars": jars(), **settings(f"ArchiveClassesAtExit={unfinished}")},
    )
    with tempfile.TemporaryDirectory() as folder:
        table, columns = f"{folder}/table", {"id": "bigint", "part": "bigint", "words": "array<string>"}
        rows = spark.range(8).selectExpr("id", "id % 3 AS part", "array('word') AS words")
        rows.write.format("delta").partitionBy("part").option(CHANGE_FEED, "true").save(table)
        found = spark.read.format("delta").load(table)
        found.groupBy("part").count().collect()
        mapped = map_in_arrow(found.repartition("part"), lambda batches: batches, columns).persist()
        few = spark.createDataFrame(found.select("id").toArrow())
        ones = mapped.where("part = 1").join(few, on="id", how="left_semi").sortWithinPartitions("id")
        ones.write.format("delta").mode("overwrite").option("replaceWhere", "part = 1").save(table)
        spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0).load(table).toArrow()
        gateway = gateway_of(spark)
        spark.stop()
        gateway.proc.stdin.close()  # ends the JVM, which then writes the archive
        gateway.proc.wait()
    if unfinished.exists():
        unfinished.replace(SPARK_CLASSES)


if __name__ == "__main__":
    make_archive()
    print(defaults(), end="")  # noqa: T201
