"""The whole of production on four hosts: every cell of a local run, and what is killed meanwhile changes none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stack import demo
from stack.airflow_api import AirflowApi
from stack.follow import DAILY, follow
from stack.settings import REPOSITORY
from tests.cold_chain import cold_rows, happened
from tests.production.production import Production
from tests.reference import cold_tables

pytestmark = [
    pytest.mark.production,
    pytest.mark.skipif(os.environ.get("PRODUCTION") != "1", reason="takes minutes: `make test-production` runs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces and start a Docker engine"),
]

ONE_HOST = "tripclick_one_host"  # a database of marts beside production's


def test_a_host_lets_in_to_what_others_need_alone(production: Production) -> None:
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
        submit = "spark-submit --master 'local[2]' --driver-memory 1g --conf 'spark.jars=jobs/spark/jars/*.jar'"
        command = f"cd {REPOSITORY} && PYTHONPATH=. exec {submit} jobs/spark/{job}.py {' '.join(options)}"
        login = {**production.lake.key, **production.databases.connection, "PGDATABASE": ONE_HOST}
        done = production.ssh.run(command, login)
        assert done.returncode == 0, done.stdout + done.stderr
