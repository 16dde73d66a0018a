"""Lineage of real tasks: Airflow and Spark tell one receiver of the same data, and of the task that started Spark."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from jobs.event import TOPIC
from jobs.spark.kafka_lineage import FACET
from jobs.spark.tables import ARCHIVE, CLICKS
from stack.airflow_server import Airflow
from stack.home import Home
from stack.installer import install_lineage
from stack.settings import DATABASE, HOST
from stack.sshd import SshServer
from stack.stack import Stack
from tests.contract_lines import line
from tests.faults.conftest import IN_FULL
from tests.production.packages import install_packages

pytestmark = [pytest.mark.faults, IN_FULL]

JOBS = ("streaming_curated", "analytics_mart_etl", "load_postgres")
KEYS = ("inputs", "outputs")
DAY = dt.datetime(2020, 10, 1, tzinfo=dt.UTC)
DAGS = {
    "tripclick_producer_batch": {"first_date": f"{DAY:%Y-%m-%d}", "last_date": f"{DAY:%Y-%m-%d}"},
    "tripclick_streaming_curated": {"until_caught_up": True},
    "tripclick_analytics_mart_etl": {},
    "tripclick_load_postgres": {},
}


class Receiver(ThreadingHTTPServer):
    """Takes the events of both sides, as Marquez does."""

    def __init__(self) -> None:
        """On a free port; `told` is what has come, by what it was posted to."""
        super().__init__((HOST, 0), Receiving)
        self.told: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        """For both sides' transports."""
        return f"http://{HOST}:{self.server_port}"


class Receiving(BaseHTTPRequestHandler):
    """One event."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep it."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path, event))
        self.send_response(HTTPStatus.CREATED)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class TellingAirflow(Airflow):
    """With the provider of OpenLineage."""

    packages: Path
    receiver: str

    def environment(self) -> dict[str, str]:
        """As in docs/operations.md."""
        transport = {"type": "http", "url": self.receiver}
        telling = {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport), "AIRFLOW__OPENLINEAGE__NAMESPACE": "ours"}
        before = super().environment()
        return {**before, **telling, "PYTHONPATH": f"{before['PYTHONPATH']}:{self.packages}"}


class TellingSpark(SshServer):
    """Whose administrator has Spark send its lineage."""

    receiver: str

    def prepare(self) -> None:
        """As in docs/operations.md."""
        super().prepare()
        with (self.home.folder("spark", "conf") / "spark-defaults.conf").open("a", encoding="utf-8") as file:
            file.write(
                "spark.extraListeners io.openlineage.spark.agent.OpenLineageSparkListener\n"
                f"spark.openlineage.transport.type http\nspark.openlineage.transport.url {self.receiver}\n"
            )


@dataclass(frozen=True)
class Event:
    """What is looked at of one."""

    job: str
    run: str
    parent: str
    root: str
    run_id: str  # the DAG's, as Airflow's events have it
    text: str
    reads: frozenset[str]
    writes: frozenset[str]

    @classmethod
    def of(cls, event: dict[str, Any]) -> Event:
        """Of its JSON; a parent without a root is the root."""
        facets = event["run"]["facets"]
        parent = facets.get("parent", {})
        above, root = (facet.get("run", {}).get("runId", "") for facet in (parent, parent.get("root", parent)))
        run_id = facets.get("airflow", {}).get("dagRun", {}).get("run_id", "")
        reads, writes = (frozenset(f"{one['namespace']} {one['name']}" for one in event[key]) for key in KEYS)
        job, run = event["job"]["name"], event["run"]["runId"]
        return cls(job, run, above, root, run_id, json.dumps(event), reads, writes)


def by(side: str, told: list[dict[str, Any]]) -> list[Event]:
    """A side's events of what has ended well."""
    return [Event.of(event) for event in told if side in event["producer"] and event.get("eventType") == "COMPLETE"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """It runs."""
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def stack(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without an engine; Airflow's own processes do not run, since each DAG is run by a command."""
    install_lineage()
    stack = Stack(Home(tmp_path_factory.mktemp("stack"), any_port=True))
    stack.ssh, stack.airflow = TellingSpark(stack.home), TellingAirflow(stack.home)
    stack.airflow.packages = install_packages()
    stack.ssh.receiver = stack.airflow.receiver = receiver.url
    for server in stack.servers:
        server.claim()
    servers = (stack.kafka, stack.postgres, stack.ssh)
    try:
        for server in servers:
            server.start()
        stack.log_folder.mkdir(exist_ok=True)
        stack.airflow.claim()
        stack.airflow.prepare()
        stack.airflow.pipeline_environment = "local_without_docker"
        stack.airflow.values = stack.airflow_values()
        stack.airflow.import_settings(stack.airflow_secrets())
        yield stack
    finally:
        for server in servers:
            server.stop()


def test_both_sides_tell_of_the_same_data_back_to_the_log(stack: Stack, receiver: Receiver) -> None:
    ms = int(DAY.timestamp() * 1000)
    lines = [line(SessionId=f"s{number}", DateCreated=f"/Date({ms + number})/") for number in range(20)]
    (stack.log_folder / f"{DAY:%Y-%m-%d}.json").write_bytes(b"".join(each + b"\n" for each in lines))
    stack.airflow.run_commands(*(["dags", "test", dag_id, "--conf", json.dumps(conf)] for dag_id, conf in DAGS.items()))
    assert {path for path, _ in receiver.told} == {"/api/v1/lineage"}
    told = [event for _, event in receiver.told]
    by_airflow, by_spark = by("apache/airflow", told), by("integration/spark", told)

    # From a table of PostgreSQL back, by the names alone.
    lake = f"file {stack.home.root}/lake"
    data = f"postgres://{stack.postgres.address} {DATABASE}.public.daily_traffic"
    for step, source in {
        "load_to_postgres": f"{lake}/analytics_mart/daily_traffic",
        "etl_to_analytics_mart": f"{lake}/curated_stream/{CLICKS}",
        "streaming_to_curated_stream": f"kafka://{stack.kafka.address} {TOPIC}",
        "producer_server0_batch": f"file {stack.log_folder}",
    }.items():
        (task,) = (event for event in by_airflow if data in event.writes)
        assert task.job.endswith(f".{step}")
        assert source in task.reads
        data = source

    # Spark is run by the tasks, and has no names of its own.
    applications = {event.parent: event for event in by_spark if event.job in JOBS}
    tasks = {event.run: event for event in by_airflow if event.run in applications}
    assert sorted(applications[run].job for run in tasks) == sorted(JOBS)
    for run, task in tasks.items():
        application = applications[run]
        below = [event for event in by_spark if event.parent in {application.run, run}]
        assert {event.root for event in below} == {task.parent}
        assert all(task.run_id in event.text for event in below)
        reads, writes = (frozenset(chain(*names)) for names in ((e.reads for e in below), (e.writes for e in below)))
        assert reads <= task.reads
        assert task.reads - reads <= {f"{lake}/archive_raw/{ARCHIVE}"}  # which is read on demand
        assert writes == {name for name in task.writes if name.startswith(lake)}

    # The task that has read Kafka says which of its offsets.
    ((run, offsets),) = (
        (event["run"]["runId"], source["inputFacets"][FACET])
        for event in told
        for source in event["inputs"]
        if FACET in source.get("inputFacets", {})
    )
    assert applications[run].job == "streaming_curated"
    assert (offsets["from"], sum(offsets["to"].values())) == ({}, len(lines))
    assert stack.postgres.connection["PGPASSWORD"] not in json.dumps(told)
