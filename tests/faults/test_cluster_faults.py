"""A worker of Spark's cluster killed, with its executors, while each job runs on it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import arguments
from jobs.generator.__main__ import write_day
from stack import spark_start
from stack.home import Home
from tests import spark_submit
from tests.faults.chain import JOBS, LAKE, SEARCH_JOBS, SEARCH_LAKE, Chain
from tests.faults.conftest import IN_FULL, SPARK_FAULTS, Tell
from tests.kafka_runs import lines_of
from tests.server_fixtures import running
from tests.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = SPARK_FAULTS

LATER_SECONDS = 2.0  # after both workers have given cores to the job


@pytest.fixture
def cluster(stack_home: Home) -> Iterator[SparkCluster]:
    """A running cluster."""
    yield from running(SparkCluster(stack_home))


@IN_FULL
def test_a_worker_killed_in_each_job_changes_nothing(
    spark: SparkSession, chain: Chain, cluster: SparkCluster, tmp_path: Path, chance: random.Random, tell: Tell
) -> None:
    write_day(tmp_path / "log", arguments.day("2020-10-01"), 2.0, 7, dirty=True)
    chain.send(lines_of(tmp_path / "log"))
    undisturbed = Chain(tmp_path / "undisturbed", chain.kafka, chain.postgres, chain.topic)
    executors = {name.replace("driver", "executor"): value for name, value in spark_start.settings().items()}
    size = {"spark.master": cluster.address, "spark.executor.memory": "512m"}
    for job in (*JOBS, *SEARCH_JOBS):
        with chain.start(job, settings={**executors, **size, **spark_submit.INTERPRETED}) as driver:
            assert driver.waits_for(lambda: all(cluster.executors().values())), driver.said
            time.sleep(chance.uniform(0, LATER_SECONDS))
            cluster.kill_one()
            assert driver.process.poll() is None, f"{job} had ended before the kill"
            assert sum(map(bool, cluster.executors().values())) <= 1
            ended = driver.wait()
            assert ended == 0, driver.said
        cluster.start_missing()
        undisturbed.run(job)
    found = chain.contents(spark)
    assert {*LAKE, *SEARCH_LAKE} < found.keys()
    assert found == undisturbed.contents(spark)
    tell(f"a worker killed in each of {len(JOBS) + len(SEARCH_JOBS)} jobs: the same {len(found)} tables")
