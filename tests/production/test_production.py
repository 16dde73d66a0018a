"""The whole of production on four hosts: every cell of a local run, and what is killed meanwhile changes none."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stack import demo
from stack.airflow_api import AirflowApi
from stack.follow import DAILY, follow, say
from stack.settings import REPOSITORY
from tests.cold_chain import cold_rows, happened
from tests.faults.conftest import kill
from tests.production.parts import BRANCH
from tests.production.production import MEMORY_LIMIT, Production
from tests.reference import cold_tables

LAST_GREEN = Path(__file__).with_name("last_green.txt")

pytestmark = [
    pytest.mark.production,
    pytest.mark.skipif(
        os.environ.get("PRODUCTION") != "1",
        reason="takes minutes: `make test-production` runs it; last green: " + LAST_GREEN.read_text(encoding="ascii"),
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces and start a Docker engine"),
]

ETL = ("tripclick_analytics_mart_etl", "etl_to_analytics_mart")
LOAD = "tripclick_load_postgres"
JOBS_SIDE_BY_SIDE = ("streaming_curated", "analytics_mart_realtime", "search_marts_etl")
ONE_HOST = "tripclick_one_host"  # a database of marts beside production's
BROKEN = "mart/tripclick_analytics_mart_etl.yaml"


def test_a_host_accepts_only_the_connections_that_others_need(production: Production) -> None:
    names = {
        "af": ["airflow", "git"],
        "web": ["docker", "kafka-controller"],
        "spark": ["ssh", "s3", *production.cluster.ports],
        "db": ["postgres"],
    }
    wanted = {host: {production.home.port(port) for port in ports} for host, ports in names.items()}
    wanted["web"] |= {broker.home.port("kafka") for broker in production.brokers}
    assert {name: host.open_ports() for name, host in production.hosts.items()} == wanted


def test_the_daily_pipeline_runs_green_and_every_cell_is_right(
    production: Production, api: AirflowApi, days: demo.Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = cold_tables(happened(production, days, tmp_path), days.shift_ms)
    with capsys.disabled():
        follow(api, [(DAILY, demo.start_cold(api, days))], "The daily pipeline on the cluster")
    found = cold_rows(production)
    for table, rows in expected.items():
        assert found[table] == rows, table
    on_one_host(production)
    assert cold_rows(production, dbname=ONE_HOST) == found


def on_one_host(production: Production) -> None:
    """The same marts by the same jobs in one process on the Spark server, in a database beside production's."""
    production.databases.create_database(ONE_HOST)
    lake = production.lake_root
    mart = f"--mart-path={lake}/one_host"
    jobs = {"analytics_mart_etl": [f"--curated-path={lake}/curated_stream", mart], "load_postgres": [mart]}
    for job, options in jobs.items():
        submit = "spark-submit --master 'local[2]' --driver-memory 1g --conf 'spark.jars=jobs/spark/jars*/*.jar'"
        command = f"cd {REPOSITORY} && PYTHONPATH=. exec {submit} jobs/spark/{job}.py {' '.join(options)}"
        login = {**production.lake.key, **production.databases.connection, "PGDATABASE": ONE_HOST}
        done = production.ssh.run(command, login)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_commit_pushed_past_the_check_takes_its_own_dag_alone(production: Production, api: AirflowApi) -> None:
    everything = set(api.dags())
    file = production.central.project / "pipelines" / BROKEN
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace("task_id: start", "task_id: strat"), encoding="utf-8")
    try:
        production.commit("A mistake")
        refused = production.deploy()
        assert (refused.returncode, f"origin/{BRANCH} stays at" in refused.stderr) == (1, True), refused.stderr
        production.push()
        api.wait(lambda: api.import_errors(), "the mistake is told", 90)
        assert BROKEN in "".join(api.import_errors())
        api.wait(lambda: set(api.dags()) == everything - {ETL[0]}, "its DAG is gone, the others stay", 60)
    finally:
        file.write_text(right, encoding="utf-8")
        commit = production.commit("The mistake is taken back")
        production.push()
    api.wait(lambda: set(api.dags()) == everything, "all are back", 90)
    api.wait(lambda: not api.import_errors(), "nothing is wrong any more", 60)
    api.wait(lambda: versions(api) == {commit}, "every DAG names the version", 60)


def versions(api: AirflowApi) -> set[str]:
    """The commits that the DAGs are from."""
    return {api.dag(dag)["bundle_version"] for dag in api.dags()}


def test_a_task_whose_worker_is_killed_is_tried_again_and_nothing_counts_twice(
    production: Production, api: AirflowApi, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cold_rows(production)
    worker = production.workers["spark"]
    run_id = api.trigger(ETL[0], {})

    def task() -> Any:
        return next(task for task in api.tasks(ETL[0], run_id) if task.task_id == ETL[1])

    api.wait(lambda: any(production.cluster.executors().values()), "the job is at work", 120)
    kill(worker)
    api.wait(lambda: not job_runs(production, "analytics_mart_etl"), "the job ends with its worker", 60)
    api.wait(worker.is_missed, "Airflow misses the worker", 120)
    worker.start()
    with capsys.disabled():
        follow(api, [(ETL[0], run_id)], "The ETL, its worker killed")
        assert task().try_number == 2
        follow(api, [(LOAD, api.trigger(LOAD, {"in_full": True}))], "The load")
    assert cold_rows(production) == before


def test_airflow_and_postgresql_killed_while_a_job_runs_change_nothing(
    production: Production, api: AirflowApi, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cold_rows(production)
    run_id = api.trigger(ETL[0], {})
    api.wait(lambda: any(production.cluster.executors().values()), "the job is at work", 120)
    for server in (production.central, production.databases):
        kill(server)
    for part in production.parts:
        if not part.is_running():  # as systemd would
            part.start()
    with capsys.disabled():
        follow(api, [(ETL[0], run_id)], "The ETL, Airflow and PostgreSQL killed meanwhile")
        follow(api, [(LOAD, api.trigger(LOAD, {"in_full": True}))], "The load")
    assert cold_rows(production) == before


def job_runs(production: Production, job: str) -> bool:
    """Whether a driver of the job runs on the Spark server."""
    commands = (Path(f"/proc/{process.pid}/cmdline") for process in production.ssh.daemons()[0].members())
    return any(job.encode() in path.read_bytes() for path in commands if path.exists())


def test_a_broker_and_a_spark_worker_killed_at_work_change_nothing(
    production: Production, api: AirflowApi, days: demo.Days, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = demo.start_hot(api, days)
    broker, cluster = production.brokers[-1], production.cluster
    api.wait(lambda: containers(production), "the producer sends", 120)
    kill(broker)
    api.wait(lambda: all(job_runs(production, job) for job in JOBS_SIDE_BY_SIDE), "all jobs run", 180)
    api.wait(lambda: all(cluster.executors().values()), "both workers have executors", 120)
    memory = production.memory()
    cluster.kill_one()
    with capsys.disabled():
        say(f"\nall of it held {memory / 2**30:.1f} GiB, before a broker and a Spark worker were killed")
        cluster.start_missing()
        follow(api, runs, "The hot DAGs and the search marts")
        broker.start()
        assert demo.report(production, days), "generated and arrived clicks differ, or the hot tables are late"
    assert memory < MEMORY_LIMIT


def containers(production: Production) -> list[Any]:
    """The producers' that run on the engine, by TLS."""
    with closing(production.engine.connect()) as client:
        found: list[Any] = client.containers.list()
        return found
