"""What jobs/spark/delta_log.py asks of Delta's own classes is there, and says what is in the table."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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
