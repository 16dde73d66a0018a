"""The session of the jobs: what spark-submit was told stands, and what cells depend on is not told otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from jobs.errors import JobError
from jobs.spark.jvm import jvm_of
from jobs.spark.session import PARTS, session, side_by_side

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME, ZONE = "spark.sql.shuffle.partitions", "spark.sql.session.timeZone"
STORE = "spark.delta.logStore.s3a.impl"


@pytest.fixture
def told(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The JVM's properties, which hold what spark-submit was told when it started this program."""
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    jvm = jvm_of(spark)
    before = {name: jvm.System.getProperty(name) for name in (NAME, ZONE, STORE)}  # this session's own settings
    for name in before:
        jvm.System.clearProperty(name)
    yield jvm.System
    for name, value in before.items():
        jvm.System.clearProperty(name) if value is None else jvm.System.setProperty(name, value)
    spark.conf.set(NAME, PARTS)


def test_overrides_nothing_that_spark_submit_was_told(spark: SparkSession, told: Any) -> None:
    told.setProperty(NAME, "7")
    spark.conf.set(NAME, "7")  # as it would be at the session's start
    assert session("tests", {NAME: "3"}).conf.get(NAME) == "7"


def test_sets_what_spark_submit_was_not_told(spark: SparkSession, told: Any) -> None:
    spark.conf.set(NAME, "7")
    assert session("tests", {NAME: "3"}).conf.get(NAME) == "3"
    assert told.getProperty(ZONE) is None


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [(ZONE, "Asia/Seoul", "UTC"), (STORE, "io.delta.storage.S3SingleDriverLogStore", "tripclick.ConditionalLogStore")],
)
def test_refuses_another_time_zone_and_commits_without_a_condition(
    told: Any, name: str, value: str, needed: str
) -> None:
    told.setProperty(name, value)
    with pytest.raises(JobError, match=f"sets {name}={value}, but the jobs need {needed}: remove it"):
        session("tests")


def test_calls_run_at_the_same_time_until_one_fails(spark: SparkSession) -> None:
    both = threading.Barrier(2, timeout=20)
    side_by_side(spark, both.wait, both.wait)

    def fails() -> None:
        while not spark.sparkContext.statusTracker().getActiveJobsIds():
            time.sleep(0.01)
        raise JobError("no")

    endless = spark.range(10**15).selectExpr("count_if(hash(id) = 0)")
    with pytest.raises(JobError, match="no"):
        side_by_side(spark, endless.collect, fails)


def test_a_driver_lets_nobody_in_by_its_own_ports(spark: SparkSession) -> None:
    jvm = jvm_of(spark)
    assert jvm.org.apache.spark.SparkEnv.get().securityManager().isAuthenticationEnabled()
