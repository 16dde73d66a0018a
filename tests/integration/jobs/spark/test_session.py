"""The same jobs on a standalone cluster of two workers: the same rows as in one process, by the same modules."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.generator.__main__ import write_day
from jobs.spark import analytics_mart_etl, streaming_curated
from jobs.spark.jvm import jvm_of
from jobs.spark.session import RUN
from jobs.spark.tables import CLICKS, COLD_MARTS, QUARANTINE
from stack import spark_start
from stack.home import Home
from stack.settings import REPOSITORY
from tests import spark_submit as by_spark
from tests.kafka_runs import DAY, NEXT_DAY, command
from tests.server_fixtures import running
from tests.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration

RUN_ID = "scheduled__2026-05-04T15:00:00+00:00"
JOBS = {"streaming_curated": streaming_curated, "analytics_mart_etl": analytics_mart_etl}


@pytest.fixture
def cluster(stack_home: Home) -> Iterator[SparkCluster]:
    """A running cluster."""
    yield from running(SparkCluster(stack_home))


@pytest.fixture
def topic(kafka: str, tmp_path: Path) -> str:
    """A topic with two small days, dirty records among them."""
    for day in (DAY, NEXT_DAY):
        write_day(tmp_path / "log", dt.date.fromisoformat(day), scale=0.3, seed=3, dirty=True)
    name = f"test.{uuid.uuid4().hex}"
    subprocess.run(command("batch", kafka, tmp_path / "log", name), cwd=REPOSITORY, check=True, capture_output=True)
    return name


def test_spark_knows_the_settings_that_the_page_of_servers_names(spark: SparkSession) -> None:
    jvm = jvm_of(spark)
    for module in ("deploy.k8s.Config$", "deploy.yarn.config.package$"):
        jvm.java.lang.Class.forName(f"org.apache.spark.{module}")  # which registers its settings
    page = (REPOSITORY / "docs/servers.md").read_text(encoding="utf-8")
    named = re.findall(r"^(spark\.\S+) ", page.partition("## Spark on YARN or Kubernetes")[2], re.MULTILINE)
    known = {name for name in named if jvm.org.apache.spark.internal.config.ConfigEntry.findEntry(name)}
    assert len(named) > 10
    assert set(named) - known == set()


def chain(kafka: str, topic: str, root: Path) -> dict[str, list[str]]:
    """The command lines from Kafka to the mart below this root, by job."""
    curated = f"--curated-path={root}/curated"
    source = [f"--kafka-brokers={kafka}", f"--topic={topic}", f"--checkpoint-path={root}/checkpoint"]
    return {
        "streaming_curated": [curated, *source, "--until-caught-up=true", "--max-bad-share=1"],
        "analytics_mart_etl": [curated, f"--mart-path={root}/mart"],
    }


def rows(spark: SparkSession, path: Path) -> list[tuple[Any, ...]]:
    """All rows of a table of the lake; when a record was quarantined is another moment each time."""
    table = spark.read.format("delta").load(str(path)).drop("quarantined_ts")
    return sorted((tuple(row) for row in table.collect()), key=repr)


def notes(path: Path) -> set[str]:
    """What the commits of a table say of their writer."""
    lines = [json.loads(line) for file in path.glob("_delta_log/*.json") for line in file.read_text().splitlines()]
    return {line["commitInfo"].get("userMetadata", "") for line in lines if "commitInfo" in line}


def test_the_same_rows_as_in_one_process(
    spark: SparkSession, kafka: str, topic: str, cluster: SparkCluster, tmp_path: Path
) -> None:
    settings = {name.replace("driver", "executor"): value for name, value in spark_start.settings().items()}
    settings |= {"spark.master": cluster.address, "spark.executor.memory": "512m", **by_spark.INTERPRETED, RUN: RUN_ID}
    jobs = [json.dumps([job, *options]) for job, options in chain(kafka, topic, tmp_path / "cluster").items()]
    words = [*by_spark.command("tests/spark_jobs.py", settings), *jobs]
    done = subprocess.run(
        words, cwd=REPOSITORY, env=by_spark.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for job, options in chain(kafka, topic, tmp_path / "local").items():
        JOBS[job].run(JOBS[job].parser().parse_args(options))

    tables = [f"curated/{name}" for name in (CLICKS, QUARANTINE)] + [f"mart/{name}" for name in COLD_MARTS]
    for table in tables:
        found, expected = (rows(spark, tmp_path / where / table) for where in ("cluster", "local"))
        assert found, table
        assert found == expected, table
        assert all(RUN_ID in note for note in notes(tmp_path / "cluster" / table)), table
