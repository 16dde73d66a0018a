"""A version of a table's log in a folder is made once, however many try to make it at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from py4j.protocol import Py4JJavaError

from jobs.spark.jvm import java_session, jvm_of
from jobs.spark.writer import append

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration

RACERS, ROUNDS = 4, 20


def test_of_many_that_make_the_same_version_in_a_folder_one_does(spark: SparkSession, tmp_path: Path) -> None:
    append(spark.range(1), str(tmp_path))
    jvm = jvm_of(spark)
    delta = jvm.org.apache.spark.sql.delta
    log = delta.DeltaLog.forTable(java_session(spark), str(tmp_path))
    store, settings, start = log.store(), log.newDeltaHadoopConf(), threading.Barrier(RACERS)
    refused: list[str] = []

    def make(version: int, by: int) -> str:
        lines = jvm.java.util.ArrayList()
        lines.add(f'{{"commitInfo": {{"by": {by}}}}}')
        file = delta.util.FileNames.unsafeDeltaFile(log.logPath(), version)
        actions = jvm.scala.jdk.javaapi.CollectionConverters.asScala(lines.iterator())
        start.wait()
        try:
            store.write(file, actions, False, settings)
        except Py4JJavaError as error:
            refused.append(str(error.java_exception))
            return ""
        return f"{lines.get(0)}\n"

    folder = tmp_path / "_delta_log"
    with ThreadPoolExecutor(RACERS) as threads:
        for version in range(1, ROUNDS + 1):
            (made,) = filter(None, threads.map(make, [version] * RACERS, range(RACERS)))
            assert (folder / f"{version:020}.json").read_text(encoding="utf-8") == made
    assert len(refused) == ROUNDS * (RACERS - 1)
    assert all("another job has made this version" in said for said in refused)
    assert not list(folder.glob(".*")), "drafts stay"
