"""The two jobs as Spark's host runs them: by spark-submit."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_lake_streams import BROKEN, Lake, line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration
Submit = Callable[..., subprocess.CompletedProcess[str]]


def test_jobs_run_to_the_end(spark: "SparkSession", kafka: str, tmp_path: Path, spark_submit: Submit) -> None:
    lake = Lake(spark, kafka, tmp_path)
    lake.send([*map(line, range(1000)), BROKEN])
    common = ("--kafka-brokers", kafka, "--topic", lake.topic, "--checkpoint-path", str(tmp_path / "ck"))
    done = spark_submit("streaming_curated", *common, "--curated-path", str(tmp_path), "--until-caught-up", "true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read 1,001, kept 1,000, quarantined 1 (not_json 1)" in done.stdout
    done = spark_submit("archive_raw", *common, "--archive-path", str(tmp_path / "archive_raw"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read 1,001, archived 1,001" in done.stdout
    assert len(lake.rows("clicks")) == 1000
    assert len(lake.rows("archive_raw/clicks")) == 1001


def test_unknown_broker_is_one_line_and_exit_1(tmp_path: Path, spark_submit: Submit) -> None:
    paths = ("--archive-path", str(tmp_path), "--checkpoint-path", str(tmp_path))
    done = spark_submit("archive_raw", "--kafka-brokers", "127.0.0.1:1", *paths, limit=60)
    assert done.returncode == 1
    errors = [text for text in done.stdout.splitlines() if text.startswith("error: ")]
    assert len(errors) == 1
    assert "Kafka does not answer: 127.0.0.1:1" in errors[0]
    assert "Traceback" not in done.stdout + done.stderr
