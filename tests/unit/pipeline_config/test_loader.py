"""The loader inside Airflow, without a server: what it builds, and what it says of what it cannot build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline_config.project import ROOT
from tests.airflow_environment import airflow_environment
from tests.airflow_process import AirflowProcess
from tests.airflow_project import copy, run
from tests.programs import program

LOAD = program("loads_the_dags")
BUILT = program("tells_what_is_built")
TASK_START = program("starts_a_task")
SERIALISED = program("serialises_the_dags")


@pytest.fixture(scope="module")
def built(airflow: AirflowProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow has of the valid cases, all of them loaded at once where there are schedules."""
    project = copy(tmp_path_factory.mktemp("valid"))
    for path in (ROOT / "tests/pipelines/valid").iterdir():
        if path.is_dir():
            shutil.copytree(path, project / "pipelines", dirs_exist_ok=True)
        else:
            shutil.copy(path, project / "pipelines")
    record: dict[str, Any] = json.loads(
        run(airflow, BUILT, project, pipeline_environment="production").splitlines()[-1]
    )
    return record


def test_loader_builds_all_and_a_broken_file_takes_only_its_own_dag_away(
    airflow: AirflowProcess, project: Path
) -> None:
    names = sorted(path.stem for path in project.glob("pipelines/*/tripclick_*.yaml"))
    assert len(names) == 9
    loaded = json.loads(run(airflow, LOAD, project).splitlines()[-1])
    assert loaded == {"dags": names, "problems": [], "heavy": [], "raised": "", "garbage": [True, False]}

    # Both would still make a DAG, or fail only in dag-factory: the check is what keeps them out.
    broken = project / "pipelines/mart/tripclick_load_postgres.yaml"
    broken.write_text(broken.read_text().replace("[S3_ANALYTICS_MART_PATH,", "[S3_ANALYTICS_MART_PATH, S3_PATHS,"))
    other = project / "pipelines/mart/tripclick_analytics_mart_etl.yaml"
    other.write_text(other.read_text().replace("operator: SSHOperator", "operator: SSHOperatr"))
    loaded = json.loads(run(airflow, LOAD, project).splitlines()[-1])
    assert loaded["dags"] == [name for name in names if name not in {broken.stem, other.stem}]
    assert f"{broken.relative_to(project)}:6:37: variable S3_PATHS is not in pipelines/catalog.yaml" in loaded["raised"]
    assert f"{other.relative_to(project)}:15:15: no operator is called 'SSHOperatr'" in loaded["raised"]


def test_a_dag_that_cannot_be_built_is_named_with_the_place_of_its_task_and_the_others_stay(
    airflow: AirflowProcess, project: Path
) -> None:
    path = project / "pipelines/mart/needs_more.yaml"
    path.write_text(
        "dag_id: needs_more\ndescription: The class refuses an argument\nschedule: null\ntasks:\n"
        "  - task_id: fine\n    operator: EmptyOperator\n"
        "  - task_id: wrong\n    operator: airflow.providers.standard.operators.datetime.BranchDateTimeOperator\n"
        "    advanced: {follow_task_ids_if_true: x, follow_task_ids_if_false: x,\n"
        "               target_lower: null, target_upper: null}\n"
        "    dependencies: [fine]\n"
        "  - task_id: end\n    operator: EmptyOperator\n    dependencies: [wrong]\n"
    )
    loaded = json.loads(run(airflow, LOAD, project).splitlines()[-1])
    assert len(loaded["dags"]) == 9
    assert "pipelines/mart/needs_more.yaml:7:5: cannot be built: " in loaded["raised"]
    assert "Both target_upper and target_lower are None" in loaded["raised"]


def test_a_ninth_dag_uses_the_rest_of_the_dialect_without_any_python(built: dict[str, Any]) -> None:
    assert built["problems"] == []
    assert built["tasks"] == {
        "start": ["EmptyOperator", [], "default_pool", "analysts", "all_success"],
        "words.list_words": ["PythonOperator", ["start"], "default_pool", "analysts", "all_success"],
        "words.say": ["MappedOperator", ["words.list_words"], "default_pool", "analysts", "all_success"],
        "words.shout": ["MappedOperator", ["words.list_words"], "default_pool", "analysts", "all_success"],
        "send": ["MappedOperator", ["words.say", "words.shout"], "curated_stream_writer", "analysts", "all_success"],
        "remote": ["SSHOperator", ["send"], "default_pool", "analysts", "all_done"],
        "end": ["EmptyOperator", ["remote"], "default_pool", "analysts", "all_success"],
    }
    assert built["outlets"] == built["schedule"] == ["s3://tripclick/greetings"]
    assert [command[-1] for command in built["mapped"]] == ["--first-date=2020-10-01", "--first-date=2020-10-02"]
    assert built["groups"] == {"words": "Words and what is made of them"}
    assert built["params"]["enum"] == ["small", "large"]
    flow = "* flow: start → list_words → (say, shout) → send → remote → end"
    assert flow in built["doc"]
    assert "* connections: `docker_server0`, `spark_ssh`" in built["doc"]
    assert "dag_id: ninth" in built["doc"]


def test_midnight_in_korea_is_midnight_where_the_dag_says_its_timezone(built: dict[str, Any]) -> None:
    assert built["nightly"] == {
        "first": "2024-02-29T15:00:00+00:00",  # the first of March in Seoul
        "catchup": True,
        "dagrun_timeout": 5400,
        "is_paused_upon_creation": False,
        "tasks": {"start": [True, 1], "first": [False, 10], "load": [True, 1], "end": [True, 1]},
    }


def test_assets_start_a_dag_by_any_or_all_of_them_and_a_clock_beside_them(built: dict[str, Any]) -> None:
    clicks, cold, hot = (f"s3://tripclick/{name}" for name in ("clicks", "cold", "hot"))
    assert built["assets"] == {
        "after_any": {"AssetAny": [clicks, {"AssetAll": [cold, hot]}]},
        "after_all": {"AssetAll": [clicks, {"AssetAny": [cold, hot]}]},
        "next": "2023-12-31T21:00:00+00:00",  # the first of January at six in Seoul
    }


def test_groups_may_be_nested(built: dict[str, Any]) -> None:
    assert built["nested"] == {
        "clicks": [],
        "marts.hot_marts.list_hot": ["clicks"],
        "marts.hot_marts.hot": ["marts.hot_marts.list_hot"],
        "marts.cold_marts.cold": ["clicks", "marts.hot_marts.hot"],
        "marts.both": ["marts.cold_marts.cold"],
        "end": ["marts.both", "marts.hot_marts.hot"],
    }


def test_each_event_has_its_notifiers_and_a_task_its_own(built: dict[str, Any]) -> None:
    failure = ["on_failure", "SmtpNotifier"]
    assert built["told"] == {
        "start": [failure, None, None],  # what does nothing tells of no success
        "work": [["on_failure"], ["notify", "SmtpNotifier"], ["notify", "SmtpNotifier"]],
        "end": [failure, None, ["notify", "SmtpNotifier"]],
    }


def test_a_deadline_is_the_time_after_the_schedule_and_minutes_after_the_start(built: dict[str, Any]) -> None:
    assert built["deadlines"] == [
        ["by 05:00", "DagRunLogicalDateDeadline", 7 * 60, "pipeline_config.operators.alerts.deadline_missed"],
        ["within 120 min", "DagRunQueuedAtDeadline", 120, "pipeline_config.operators.alerts.deadline_missed"],
    ]
    assert built["late"] == ["{{ dag_run.dag_id }} is late"]


def test_a_trigger_passes_numbers_booleans_nulls_and_lists_as_what_they_are(built: dict[str, Any]) -> None:
    assert built["conf"] == {
        "load": {"max_shrink_factor": 3.0, "in_full": True},
        "all_kinds": {
            "number": 1.5,
            "days": ["2020-10-01"],
            "first": None,
            "name": "12",
            "said": 'the "12" of 2024-01-02',
            "nested": {"names": ["12", 1.5, None], "text": "a {b} \\ ü"},
        },
    }


def test_a_task_starts_with_its_own_dag_alone_though_another_file_is_broken(
    airflow: AirflowProcess, project: Path
) -> None:
    (project / "pipelines/mart/tripclick_analytics_mart_etl.yaml").write_text("dag_id: [")
    assert run(airflow, TASK_START, project).splitlines()[-1] == "tripclick_load_postgres"


def test_serialised_dags_are_the_same_bytes_in_each_process(airflow: AirflowProcess, project: Path) -> None:
    shutil.copytree(ROOT / "tests/pipelines/valid/ninth", project / "pipelines", dirs_exist_ok=True)
    environment = {**os.environ, **airflow_environment(project / ".airflow", ROOT, "local"), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-W", "ignore", "-c", SERIALISED]
    other = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    first, second = run(airflow, SERIALISED, project).splitlines()[-1], other.stderr.splitlines()[-1]
    files = (project / "pipelines").glob("*/*.yaml")
    assert json.loads(first).keys() == {file.stem for file in files if file.parent.name != "environments"}
    assert first == second


def test_airflow_lists_the_two_files_and_nothing_else(airflow: AirflowProcess) -> None:
    wanted = [str(ROOT / "dag_factory_errors.py"), str(ROOT / "dag_factory_loader.py")]
    assert airflow.run(program("lists_the_dag_files"), ROOT).stdout.splitlines() == [str(wanted)] * 2
