"""What jobs/spark/delta_log.py asks of Delta's own classes is there, and says what is in the table."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from py4j.protocol import Py4JJavaError

from jobs.spark.delta_log import CHANGE_FEED, Commit, batches, commits, is_table, newest, next_version, small_files
from stack.settings import SPARK_JARS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration

UPGRADE = """\
jobs/spark/delta_log.py was read against Delta 4.4.0. When another version is in jobs/spark/pom.xml, run this file, and
compare in io.delta:delta-spark, package org.apache.spark.sql.delta
  DeltaLog             forTable, update, logPath, store, newDeltaHadoopConf
  Snapshot             version, metadata, transactions, allFiles
  DeltaHistoryManager  getCommitInfoOpt
  util.FileNames       unsafeDeltaFile
then write the version here."""


def test_the_version_is_the_one_that_was_looked_at() -> None:
    assert [jar.name for jar in SPARK_JARS.glob("delta-spark_*.jar")] == ["delta-spark_4.2_2.13-4.4.0.jar"], UPGRADE


def test_a_table_is_what_was_written(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    assert (is_table(spark, path), next_version(spark, path), batches(spark, path)) == (False, 0, {}), UPGRADE
    plain = {"txnAppId": "stream", "txnVersion": "4", "userMetadata": "a note", CHANGE_FEED: "true"}
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    rows = spark.range(3).selectExpr("id", "id % 2 AS half").repartition(1)
    rows.write.format("delta").partitionBy("half").options(**plain).save(path)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id = 0").collect()
    found = newest(spark, path)
    assert (found.version, found.notes_changes, found.folders) == (1, True, ("half",)), UPGRADE
    assert len(found.table_id) == 36, UPGRADE
    assert (is_table(spark, path), next_version(spark, path), batches(spark, path)) == (True, 2, {"stream": 4}), UPGRADE
    deleted, written = commits(spark, path)
    assert (deleted.operation, deleted.note) == ("DELETE", None), UPGRADE
    assert written == Commit(written.when, "WRITE", 3, "a note"), UPGRADE
    assert before < written.when <= deleted.when <= dt.datetime.now(dt.UTC), UPGRADE
    assert [each.operation for each in commits(spark, path, version=0)] == ["WRITE"], UPGRADE
    assert [name.split("/")[0] for name in sorted(small_files(spark, path, below=2**20))] == ["half=0", "half=1"]
    assert small_files(spark, path, below=1) == [], UPGRADE


@pytest.mark.parametrize("log_first", [True, False])
def test_a_copy_of_a_table_that_is_written_to_is_whole_if_its_log_is_copied_first(
    spark: SparkSession, tmp_path: Path, log_first: bool
) -> None:
    table, copy = tmp_path / "table", tmp_path / "copy"
    spark.range(1).write.format("delta").save(str(table))
    for is_log in (log_first, not log_first):
        for file in [file for file in table.rglob("*") if file.is_file() and ("_delta_log" in file.parts) == is_log]:
            target = copy / file.relative_to(table)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        spark.range(1, 2).write.format("delta").mode("append").save(str(table))
    rows = spark.read.format("delta").load(str(copy))
    if log_first:
        assert [row.id for row in rows.collect()] == [0]
    else:
        with pytest.raises(Py4JJavaError, match="does not exist"):
            rows.collect()
