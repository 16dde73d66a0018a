"""The nine pipelines against the design's table: ids, operators, flows, schedules, variables, connections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline_config.checks import check
from pipeline_config.compiler import compile_pipeline
from pipeline_config.project import load_project

PROJECT = load_project()
CHAIN = [
    "trigger_producer_batch",
    "trigger_streaming",
    "trigger_batch",
    "trigger_analytics_mart",
    "trigger_load_postgres",
]
LAKE, GOLD = {"spark_ssh", "aws_s3"}, {"spark_ssh", "aws_s3", "postgres_gold"}
KAFKA = {
    "KAFKA_BROKERS",
    "KAFKA_SECURITY_PATH",
    "KAFKA_REPLICATION",
    "KAFKA_MIN_INSYNC_REPLICAS",
    "KAFKA_RETENTION_DAYS",
}

# dag_id: operator, tasks between start and end, the paths and brokers it reads, connections, folder
TABLE: dict[str, tuple[str, list[str], set[str], set[str], str]] = {
    "tripclick_producer_realtime": (
        "DockerOperator",
        ["producer_server0_realtime"],
        {*KAFKA, "WEBSERVER_INGESTION_PATH"},
        {"docker_server0"},
        "ingestion",
    ),
    "tripclick_producer_batch": (
        "DockerOperator",
        ["producer_server0_batch"],
        {*KAFKA, "WEBSERVER_INGESTION_PATH"},
        {"docker_server0"},
        "ingestion",
    ),
    "tripclick_streaming_curated": (
        "SSHOperator",
        ["streaming_to_curated_stream"],
        {"KAFKA_BROKERS", "KAFKA_SECURITY_PATH", "S3_ARCHIVE_RAW_PATH", "S3_CURATED_STREAM_PATH", "S3_CHECKPOINT_PATH"},
        LAKE,
        "processing",
    ),
    "tripclick_spark_archive_raw_batch": (
        "SSHOperator",
        ["batch_to_archive_raw"],
        {"KAFKA_BROKERS", "KAFKA_SECURITY_PATH", "S3_ARCHIVE_RAW_PATH", "S3_CHECKPOINT_PATH"},
        LAKE,
        "processing",
    ),
    "tripclick_analytics_mart_etl": (
        "SSHOperator",
        ["etl_to_analytics_mart"],
        {"S3_CURATED_STREAM_PATH", "S3_ANALYTICS_MART_PATH"},
        LAKE,
        "mart",
    ),
    "tripclick_load_postgres": ("SSHOperator", ["load_to_postgres"], {"S3_ANALYTICS_MART_PATH"}, GOLD, "mart"),
    "tripclick_analytics_mart_realtime": (
        "SSHOperator",
        ["streaming_to_analytics_mart_realtime"],
        {"S3_CURATED_STREAM_PATH", "S3_CHECKPOINT_PATH"},
        GOLD,
        "mart",
    ),
    "tripclick_search_quality": (
        "SSHOperator",
        ["etl_to_search_marts", "load_to_postgres"],
        {"S3_CURATED_STREAM_PATH", "S3_ANALYTICS_MART_PATH"},
        GOLD,
        "mart",
    ),
    "tripclick_daily_pipeline": ("TriggerDagRunOperator", CHAIN, set(), set(), "orchestration"),
}


def compiled(dag_id: str, environment: str = "production") -> dict[str, Any]:
    """A pipeline as dag-factory gets it."""
    config: dict[str, Any] = compile_pipeline(PROJECT, PROJECT.pipeline(dag_id), PROJECT.environment(environment))[
        dag_id
    ]
    return config


def test_the_nine_pipelines_pass_the_check() -> None:
    assert {pipeline.dag_id for pipeline in PROJECT.pipelines} == TABLE.keys()
    assert check(PROJECT) == []


@pytest.mark.parametrize("dag_id", TABLE)
def test_pipeline_is_as_the_design_has_it(dag_id: str) -> None:
    operator, middle, variables, connections, folder = TABLE[dag_id]
    pipeline = PROJECT.pipeline(dag_id)
    tasks = pipeline.tasks
    flow = ["start", *middle, "end"]
    assert pipeline.file == f"pipelines/{folder}/{dag_id}.yaml"
    assert [task.task_id for task in tasks] == flow
    assert [[*task.dependencies] for task in tasks] == [[], *([name] for name in flow[:-1])]
    assert [task.operator for task in tasks] == ["EmptyOperator", *[operator] * len(middle), "EmptyOperator"]
    # The Spark jobs need one variable more than the users named: where the project lies on the Spark server.
    assert {name for name in pipeline.variables if not name.startswith("SPARK_")} == variables
    assert set(pipeline.connections) == connections
    assert len(pipeline.place.document.text.splitlines()) <= 60


def test_the_daily_pipeline_has_a_schedule_midnight_in_korea_and_the_search_marts_come_three_hours_later() -> None:
    schedules = {dag_id: compiled(dag_id)["schedule"] for dag_id in TABLE}
    assert {dag_id: text for dag_id, text in schedules.items() if text} == {
        "tripclick_daily_pipeline": "0 15 * * *",
        "tripclick_search_quality": "0 18 * * *",
    }


def test_a_daily_run_waits_for_each_of_its_children() -> None:
    tasks = compiled("tripclick_daily_pipeline")["tasks"]
    targets = [
        "tripclick_producer_batch",
        "tripclick_streaming_curated",
        "tripclick_spark_archive_raw_batch",
        "tripclick_analytics_mart_etl",
        "tripclick_load_postgres",
    ]
    assert [tasks[name]["trigger_dag_id"] for name in CHAIN] == targets
    for name in CHAIN:
        assert tasks[name]["wait_for_completion"] is True
        assert tasks[name]["poke_interval"] == 30
        assert tasks[name]["fail_when_dag_is_paused"] is True
    assert tasks["trigger_streaming"]["conf"] == {"until_caught_up": True}


def test_local_environment_has_no_schedule_and_swaps_docker_where_there_is_none() -> None:
    assert compiled("tripclick_daily_pipeline", "local")["schedule"] is None
    with_engine = compiled("tripclick_producer_batch", "local")["tasks"]["producer_server0_batch"]
    without = compiled("tripclick_producer_batch", "local_without_docker")["tasks"]["producer_server0_batch"]
    assert with_engine["operator"] == "pipeline_config.operators.docker.DockerOperator"
    assert without["operator"] == "pipeline_config.operators.local_process.LocalProcessOperator"
    assert with_engine["command"] == without["command"]


def test_a_literal_argument_is_quoted_for_the_shell() -> None:
    pipeline = PROJECT.pipeline("tripclick_load_postgres")
    task = replace(pipeline.tasks[1], arguments={"mart-path": "/lake; rm -rf /", "dry-run": True})
    changed = replace(pipeline, tasks=[task])
    config = compile_pipeline(PROJECT, changed, PROJECT.environment("production"))[pipeline.dag_id]
    assert config["tasks"]["load_to_postgres"]["command"].endswith(" '--mart-path=/lake; rm -rf /' --dry-run=true")


def test_every_remote_task_has_an_execution_timeout() -> None:
    for dag_id in TABLE:
        for task in compiled(dag_id)["tasks"].values():
            if not task["operator"].endswith("EmptyOperator"):
                assert task["execution_timeout"].total_seconds() > 0
