"""What the tasks read and write, as the jobs declare it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobs.spark.tables import COLD_MARTS, HOT_MARTS, SEARCH_MARTS
from pipeline_config.flows import TaskFlow, flows
from pipeline_config.job_contract import Data
from pipeline_config.project import load_project

PROJECT = load_project()
PIPELINES = {pipeline.dag_id: pipeline for pipeline in PROJECT.pipelines}
TOPIC = Data("topic", "tripclick.clicks")
CLICKS, QUARANTINE = (Data("lake", f"S3_CURATED_STREAM_PATH/{name}") for name in ("clicks", "quarantine"))


def changed(dag_id: str, **keys: Any) -> list[TaskFlow]:
    """The flows of a pipeline whose one task that does something has other keys."""
    pipeline = PIPELINES[dag_id]
    start, task, end = pipeline.tasks
    return flows(PROJECT, replace(pipeline, tasks=[start, replace(task, **keys), end]))


def listed(found: list[TaskFlow]) -> list[tuple[str, tuple[Data, ...], tuple[Data, ...]]]:
    """Each with its task's name."""
    return [(flow.task.task_id, flow.reads, flow.writes) for flow in found]


def test_each_job_declares_what_it_reads_and_writes() -> None:
    log = Data("log", "WEBSERVER_INGESTION_PATH")
    search = tuple(Data("lake", f"S3_ANALYTICS_MART_PATH/search/{name}") for name in SEARCH_MARTS)
    mart = tuple(Data("lake", f"S3_ANALYTICS_MART_PATH/{name}") for name in COLD_MARTS)
    assert {dag_id: listed(flows(PROJECT, pipeline)) for dag_id, pipeline in PIPELINES.items()} == {
        "tripclick_producer_batch": [("producer_server0_batch", (log,), (TOPIC,))],
        "tripclick_producer_realtime": [("producer_server0_realtime", (log,), (TOPIC,))],
        "tripclick_spark_archive_raw_batch": [
            ("batch_to_archive_raw", (TOPIC,), (Data("lake", "S3_ARCHIVE_RAW_PATH/clicks"),))
        ],
        "tripclick_streaming_curated": [
            (
                "streaming_to_curated_stream",
                (TOPIC, Data("lake", "S3_ARCHIVE_RAW_PATH/clicks")),
                (CLICKS, QUARANTINE),
            )
        ],
        "tripclick_analytics_mart_etl": [("etl_to_analytics_mart", (CLICKS, QUARANTINE), mart)],
        "tripclick_load_postgres": [("load_to_postgres", mart, tuple(Data("postgresql", name) for name in COLD_MARTS))],
        "tripclick_analytics_mart_realtime": [
            (
                "streaming_to_analytics_mart_realtime",
                (CLICKS,),
                tuple(Data("postgresql", name) for name in HOT_MARTS),
            )
        ],
        "tripclick_search_quality": [
            ("etl_to_search_marts", (CLICKS,), search),
            ("load_to_postgres", search, tuple(Data("postgresql", name) for name in SEARCH_MARTS)),
        ],
        "tripclick_daily_pipeline": [],
    }


def test_an_argument_wins_over_the_jobs_default_and_a_param_counts_by_its_own() -> None:
    given = {**PIPELINES["tripclick_spark_archive_raw_batch"].tasks[1].arguments, "archive-path": "/lake/"}
    found = changed("tripclick_spark_archive_raw_batch", arguments={**given, "topic": "other"})
    assert listed(found) == [("batch_to_archive_raw", (Data("topic", "other"),), (Data("lake", "/lake/clicks"),))]
    pipeline = PIPELINES["tripclick_producer_batch"]
    arguments = {
        "topic": "{{ params.first_date }}",
        "ingestion-path": "{{ var.value.get('WEBSERVER_INGESTION_PATH') }}",
    }
    (task,) = changed("tripclick_producer_batch", arguments=arguments)
    assert task.writes == (Data("topic", str(pipeline.param_defaults["first_date"])),)
    assert task.reads == (Data("log", "WEBSERVER_INGESTION_PATH"),)


def test_what_only_a_run_knows_stands_for_itself() -> None:
    template = "{{ ti.xcom_pull('start') }}"
    (task,) = changed("tripclick_producer_batch", arguments={"topic": template})
    assert task.writes == (Data("topic", template),)
    (task,) = changed("tripclick_producer_batch", for_each={"topic": "start"})
    assert task.writes == (Data("topic", "<start>"),)


def test_a_mapped_task_writes_what_any_of_its_instances_writes() -> None:
    each = {"topic": ["one", "two", "one"], "first-date": ["2020-10-01"] * 1000, "last-date": ["2020-10-01"] * 1000}
    (task,) = changed("tripclick_producer_batch", for_each=each)
    assert task.writes == (Data("topic", "one"), Data("topic", "two"))


def test_outlets_are_written_also_without_a_job() -> None:
    _, _, end = PIPELINES["tripclick_producer_batch"].tasks
    pipeline = replace(PIPELINES["tripclick_producer_batch"], tasks=[replace(end, outlets=["s3://tripclick/done"])])
    assert listed(flows(PROJECT, pipeline)) == [("end", (), (Data("asset", "s3://tripclick/done"),))]
