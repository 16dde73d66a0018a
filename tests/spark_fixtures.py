"""A Spark session inside the test process, for tests of pure functions and of tables in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from jobs.spark.jvm import jvm_of
from jobs.spark.session import session
from stack import spark_start
from stack.machine import java_home
from stack.settings import SPARK_JARS
from tests.s3_service import S3Service
from tests.spark_submit import INTERPRETED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What queries leave behind is collected a tenth as often as with the young generation that Java would choose.
_YOUNG_GENERATION = "-Xms1200m -Xmn800m"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The jobs' own session, local and small. Tests that need the jars (Delta, Kafka) are marked `integration`."""
    spark = small_session(INTERPRETED)  # what spark-submit starts writes code, as it does at work
    yield spark
    spark.stop()


@pytest.fixture
def on_s3(spark: SparkSession, s3: S3Service) -> Iterator[SparkSession]:
    """The session of this process, led to the service; buckets of other names are met with a key that is wrong."""
    user, secret, _ = s3.key.values()
    settings = dict(setting.removeprefix("spark.hadoop.").split() for setting in s3.spark_defaults.splitlines())
    settings |= {"fs.s3a.access.key": user, "fs.s3a.secret.key": secret}
    settings |= {"fs.s3a.bucket.wrong-id.access.key": "AKIAWRONG", "fs.s3a.bucket.wrong-secret.secret.key": "wrong"}
    for name, value in settings.items():
        spark.conf.set(name, value)
    yield spark
    for name in settings:
        spark.conf.unset(name)


@pytest.fixture(autouse=True)
def _forgets(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test has cached goes with it, Delta's snapshots too: a full heap makes the tests that come later slow."""
    spark = request.getfixturevalue("spark") if "spark" in request.fixturenames else None
    yield
    if spark:
        spark.catalog.clearCache()
        if SPARK_JARS.is_dir():
            jvm = jvm_of(spark)
            jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def small_session(more: Mapping[str, str] | None = None) -> SparkSession:
    """A session inside this process, with `more` settings."""
    os.environ.setdefault("JAVA_HOME", str(java_home()))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    jars = spark_start.jars()
    settings = {"spark.master": "local[2]", "spark.driver.memory": "2g", "spark.jars": jars}
    settings |= spark_start.settings()
    settings["spark.driver.defaultJavaOptions"] += f" {_YOUNG_GENERATION}"
    # A few rows are one task; what is shuffled is two, as in the jobs.
    settings["spark.default.parallelism"] = "1"
    # A class that one test's query compiled serves the others': by default the newest hundred are kept.
    settings["spark.sql.codegen.cache.maxEntries"] = "10000"
    # What a web page would show of work that has ended: there is no page.
    settings |= {
        f"spark.{name}": "50" for name in ("ui.retainedJobs", "ui.retainedStages", "sql.ui.retainedExecutions")
    }
    if not jars:
        settings |= {"spark.sql.extensions": "", "spark.sql.catalog.spark_catalog": "builtin"}
    return session("tests", {**settings, **(more or {})})
