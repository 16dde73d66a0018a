"""All DAGs in a real Airflow, with the real Docker engine, sshd, Kafka, Spark and PostgreSQL."""

from __future__ import annotations

import configparser
import datetime as dt
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from docker import DockerClient

from jobs.event import TOPIC
from stack import demo
from stack.airflow_api import AirflowApi
from stack.follow import DAILY, follow
from stack.settings import REPOSITORY
from stack.stack import Stack
from tests import analysts
from tests.cold_chain import cold_rows, happened
from tests.e2e.conftest import DAYS, first_failure, shown
from tests.faults.conftest import FULL
from tests.reference import COLUMNS, cold_tables
from tests.secret_search import Samples, Secrets, files_below, key_lines, rows_of

pytestmark = pytest.mark.e2e

COLD_RUNS = ["Cold chain", *["Cold chain again: nothing is counted twice"] * FULL]


def search_quality_days(stack: Stack) -> set[dt.date]:
    """The days of the search marts, which are brought to what the cold chain has."""
    with psycopg.connect(**stack.postgres_login()) as connection:
        return {day for (day,) in connection.execute("SELECT event_date FROM search_quality")}


@pytest.mark.faults
def test_the_dags_run_green_and_every_cell_is_right(
    stack: Stack, api: AirflowApi, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    assert stack.pipeline_environment == "local", "there must be a Docker engine"
    expected = cold_tables(happened(stack, DAYS, tmp_path), DAYS.shift_ms)
    with s3_key(api) as key, Samples(DockerClient(stack.docker.address)) as samples:
        for title in COLD_RUNS:
            with shown(pytestconfig):
                run_id = demo.start_cold(api, DAYS)
                follow(api, [(DAILY, run_id)], title)
            found = cold_rows(stack)
            for table, rows in expected.items():
                assert found[table] == rows, f"{title}: {table}"
            check_run_id(stack, api, run_id)
        with shown(pytestconfig):
            hot_runs = demo.start_hot(api, DAYS)
            follow(api, hot_runs, "Hot chain")
            assert demo.report(stack, DAYS), "generated and arrived clicks differ, or the hot tables are late"
    with psycopg.connect(**stack.postgres_login()) as connection:
        batches = connection.execute("SELECT written_by FROM mart_realtime_batches").fetchall()
    assert {("tripclick_analytics_mart_realtime", run_id) for (run_id,) in batches} <= {*hot_runs}
    assert len(search_quality_days(stack)) >= len(expected["daily_traffic"]) - 1, "the last day may have no search"
    assert api.import_errors() == []
    assert retried(api) == [], "a failure that a second try hid"
    check_secrets(stack, key, samples)
    check_containers(samples)


def retried(api: AirflowApi) -> list[str]:
    """The green tasks of our DAGs that had failed before."""
    dags = [path.stem for path in (REPOSITORY / "pipelines").glob("*/tripclick_*.yaml")]
    green = [
        task
        for dag_id in dags
        for task in api.call("GET", f"dags/{dag_id}/dagRuns/~/taskInstances?state=success&limit=100")["task_instances"]
    ]
    assert len(green) > len(dags)
    return [f"{task['dag_id']}.{task['task_id']}" for task in green if task["try_number"] > 1]


def check_run_id(stack: Stack, api: AirflowApi, run_id: str) -> None:
    """The daily run's id is in the log, the application's name, the commits and PostgreSQL's row, each time as is."""
    tasks = ("trigger_streaming", "trigger_analytics_mart", "trigger_load_postgres")
    curated, computed, loaded = (f"{run_id}__{task}" for task in tasks)
    lake = stack.home.root / "lake"

    def text(files: str) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in lake.glob(files))

    assert f"streaming_curated {curated}, process" in text("curated_stream/clicks/_writer/[0-9]*"), (
        "the application's name"
    )
    assert f'"userMetadata":"{curated}"' in text("curated_stream/clicks/_delta_log/*.json")
    assert computed in text("analytics_mart/daily_traffic/_delta_log/*.json")
    with psycopg.connect(**stack.postgres_login()) as connection:
        both = "mart_loads JOIN mart_load_history AS load USING (table_name, loaded_at)"
        query = f"SELECT DISTINCT split_part(load.run_id, ' ', 1), loaded_by FROM {both} WHERE table_name = ANY(%s)"
        assert connection.execute(query.encode(), (list(COLUMNS),)).fetchall() == [(computed, loaded)]
    (task,) = (task for task in api.tasks("tripclick_load_postgres", loaded) if task.task_id == "load_to_postgres")
    assert f"spark.tripclick.run={loaded} " in "\n".join(api.log("tripclick_load_postgres", loaded, task))


@contextmanager
def s3_key(api: AirflowApi) -> Iterator[str]:
    """The lake's connection has a key, as in production; here nobody asks for it."""
    key = secrets.token_urlsafe(30)
    path = "connections/aws_s3"
    there = api.call("GET", path)
    without = {name: there[name] for name in ("connection_id", "conn_type", "description")}
    api.call("PATCH", path, {**without, "login": "AKIATRIPCLICK", "password": key})
    try:
        yield key
    finally:
        api.call("DELETE", path)  # a PATCH to no password keeps the one that is there
        api.call("POST", "connections", without)


def check_secrets(stack: Stack, s3_key: str, samples: Samples) -> None:
    """No secret in use stands anywhere but where it is kept."""
    root = stack.home.root
    cfg = configparser.ConfigParser(interpolation=None)
    cfg.read(root / "airflow/airflow.cfg")
    values = {path.name: path.read_text(encoding="utf-8") for path in (root / "secrets").iterdir()}
    values |= {"fernet_key": cfg["core"]["fernet_key"], "s3_key": s3_key}
    values |= key_lines(stack.ssh.client_key) | key_lines(root / "ssh/host_key")
    kept = ("secrets/", "airflow/airflow.cfg", "airflow/passwords.json", "ssh/client_key", "ssh/host_key")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]
    places = [
        # The engine's layers hold the image; what it runs is in the samples. Its namespaces are no files to read.
        *files_below(root, but=(*kept, "docker/data/", "docker/run/netns/")),
        *rows_of(root / "airflow/airflow.db"),
        *((name, (REPOSITORY / name).read_bytes()) for name in names),
        *samples.places(),
    ]
    assert Secrets(values).found(places) == []
    searched = {name for name, _ in places}
    assert {"table rendered_task_instance_fields", "table xcom", "table log", "pipelines/defaults.yaml"} <= searched
    assert any("task_id=load_to_postgres" in name for name in searched), "the tasks' logs"
    commands = b"\n".join(samples.commands)
    seen = set(re.findall(rb"SparkSubmit .*jobs/spark/(\w+)\.py", commands))
    assert seen >= {b"streaming_curated", b"archive_raw", b"analytics_mart_etl", b"load_postgres"}, "processes sampled"


def check_containers(samples: Samples) -> None:
    """Each container of a producer ran without privileges, read-only and with a limit of memory."""
    assert len(samples.containers) >= len(COLD_RUNS) + 1, "one of each cold chain, one of the hot one"
    for inspected in samples.containers.values():
        host = inspected["HostConfig"]
        assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert (host["ReadonlyRootfs"], host["Memory"], host["PidsLimit"]) == (True, 512 * 2**20, 256)
        assert inspected["Config"]["User"] == "65534:65534"
        assert [mount["RW"] for mount in inspected["Mounts"]] == [False]


def test_the_analysts_queries_have_answers(stack: Stack) -> None:
    assert len(analysts.queries("sql")) == 5
    with psycopg.connect(**stack.postgres_login()) as connection:
        analysts.refuse_without_answer(connection, "sql")


@pytest.mark.parametrize(
    ("days", "words", "state"),
    [
        (("2019-01-01", "2019-01-02"), "no log of 2019-01-01", "up_for_retry"),
        (("2020-10-02", "2020-10-01"), "is before", "failed"),
    ],
    ids=["days without a file", "days the wrong way round"],
)
def test_bad_input_ends_red_with_one_line(api: AirflowApi, days: tuple[str, str], words: str, state: str) -> None:
    dag_id = "tripclick_producer_batch"
    run_id = api.trigger(dag_id, dict(zip(("first_date", "last_date"), days, strict=True)))
    found, why = first_failure(api, dag_id, run_id)
    assert found == state
    assert len(why.splitlines()) == 1
    assert words in why


def test_preflight_finds_all_that_airflow_has(stack: Stack) -> None:
    command = [sys.executable, "-m", "pipeline_config", "preflight", "--from-airflow", "--format", "json"]
    asked = [*command, "--environment", stack.pipeline_environment]
    done = subprocess.run(
        asked, env=stack.airflow.environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 20
    # the topic is made by the first producer, which may not have run yet
    assert {one["what"] for one in outcomes if not one["ok"]} <= {f"topic {TOPIC}"}, done.stdout


def test_a_missing_variable_ends_red_and_is_named(api: AirflowApi) -> None:
    path = "variables/S3_ANALYTICS_MART_PATH"
    variable = api.call("GET", path)
    api.call("DELETE", path)
    try:
        run_id = api.trigger("tripclick_load_postgres", {})
        state, why = first_failure(api, "tripclick_load_postgres", run_id)
        assert state == "failed", "no retry would bring it"
        assert re.search(r"error: Airflow variable not found: .*S3_ANALYTICS_MART_PATH.*; set it", why), why
    finally:
        api.call("POST", "variables", {"key": variable["key"], "value": variable["value"]})
