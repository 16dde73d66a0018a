"""Lineage: the names that data have in it, and what tells Spark who has started it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pipeline_config import lineage
from pipeline_config.compiler import command_of
from pipeline_config.lineage import Dataset, datasets
from pipeline_config.project import load_project

PROJECT = load_project()
KAFKA = {"kafka-brokers": "kafka1:9092,kafka2:9092", "kafka-security-path": ""}
LAKE = {"curated-path": "s3a://lake/curated/", "mart-path": "s3a://lake/mart"}


def named(dag_id: str, task_id: str, arguments: dict[str, str], **environment: str) -> tuple[list[Dataset], ...]:
    """What a task of the project has read and written, whose job had these options."""
    task = next(task for task in PROJECT.pipeline(dag_id).tasks if task.task_id == task_id)
    command = command_of(PROJECT.defaults.commands[task.command or ""], task.job, arguments)
    return datasets(PROJECT, dag_id, task_id, command, environment)


def test_data_are_named_as_by_openlineage() -> None:
    clicks, quarantine = (Dataset("s3://lake", f"curated/{name}") for name in ("clicks", "quarantine"))
    topic = Dataset("kafka://kafka1:9092", "tripclick.clicks")
    reads, writes = named("tripclick_streaming_curated", "streaming_to_curated_stream", KAFKA | LAKE)
    assert (reads, writes) == ([topic], [clicks, quarantine])  # an archive without a path is nowhere

    reads, writes = named(
        "tripclick_producer_batch", "producer_server0_batch", {**KAFKA, "ingestion-path": "/data/its logs"}
    )
    assert (reads, writes) == ([Dataset("file", "/data/its logs")], [topic])


def test_tables_of_postgresql_are_named_by_what_the_job_got() -> None:
    load = ("tripclick_load_postgres", "load_to_postgres", LAKE)
    assert named(*load)[1] == []  # nobody knows where
    _, writes = named(*load, PGHOST="gold", PGDATABASE="tripclick")
    assert Dataset("postgres://gold:5432", "tripclick.public.daily_traffic") in writes


def test_spark_is_told_nothing_where_airflow_sends_no_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", None)  # as if it were not installed
    assert lineage.spark_lineage(object()) == ""
    _install(monkeypatch, is_disabled=True)
    assert lineage.spark_lineage(object()) == ""


def test_spark_is_told_which_task_and_run_have_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, is_disabled=False)
    assert lineage.spark_lineage(object()) == (
        "--conf 'spark.openlineage.parentJobNamespace=our team/s' --conf spark.openlineage.parentJobName=dag.task "
        "--conf spark.openlineage.parentRunId=1 --conf 'spark.openlineage.rootParentJobNamespace=our team/s' "
        "--conf spark.openlineage.rootParentJobName=dag --conf spark.openlineage.rootParentRunId=2"
    )


def test_a_task_runs_without_lineage_when_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    macros = _install(monkeypatch, is_disabled=False)
    del vars(macros)["lineage_parent_id"]  # as of another version
    assert lineage.spark_lineage(object()) == ""


def _install(monkeypatch: pytest.MonkeyPatch, *, is_disabled: bool) -> ModuleType:
    """The provider, as far as it is asked; its macros."""
    conf, macros = ModuleType("conf"), ModuleType("macros")
    provider, plugins = ModuleType("openlineage"), ModuleType("plugins")
    vars(conf)["is_disabled"] = lambda: is_disabled
    vars(macros)["lineage_parent_id"] = lambda _: "our team/s/dag.task/1"
    vars(macros)["lineage_root_parent_id"] = lambda _: "our team/s/dag/2"
    vars(provider)["conf"], vars(plugins)["macros"] = conf, macros
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", provider)
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.plugins", plugins)
    return macros
