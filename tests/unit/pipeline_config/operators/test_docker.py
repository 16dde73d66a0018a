"""DockerOperator without an engine: what is said, and that a connection ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_config.connection_types import TLS_EXTRAS
from pipeline_config.docker_connection import engine_tls
from pipeline_config.project import ROOT
from tests.airflow_process import AirflowProcess
from tests.airflow_project import run
from tests.programs import program

EXPLAIN = program("explains_what_docker_refuses")
LASTING = program("keeps_a_connection")


def test_what_docker_refuses_is_one_line_that_says_what_to_do(airflow: AirflowProcess, project: Path) -> None:
    again, final = "AirflowException", "AirflowFailException"
    hints = {
        "write /var/lib/docker/x: no space left on device": (again, "docker system prune"),
        "pull access denied for producer, repository does not exist": (final, "docker build -f jobs/producer/Docker"),
        "bind source path does not exist: /logs": (final, "create that folder on the engine's host"),
        "Connection refused": (again, "is the engine of connection docker_server0 right and running?"),
        "Server '[engine]:22' not found in known_hosts": (final, "into known_hosts of Airflow's user"),
    }
    lines = run(airflow, EXPLAIN, project, "\n".join(hints)).splitlines()[-len(hints) :]
    for line, (words, (kind, hint)) in zip(lines, hints.items(), strict=True):
        assert line.startswith(f"{kind} error: Docker engine ")
        assert words in line
        assert hint in line


def test_a_certificate_that_is_not_on_this_host_is_named(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in TLS_EXTRAS}
    files["tls_ca_cert"].touch()
    files["tls_client_key"].touch()
    with pytest.raises(ValueError, match=f"no such file on this host: tls_client_cert {tmp_path}/tls_client_cert; "):
        engine_tls("tcp://engine:2376", {name: str(path) for name, path in files.items()})


def test_a_connection_to_an_engine_that_is_gone_ends_within_minutes(airflow: AirflowProcess) -> None:
    is_on, seconds = run(airflow, LASTING, ROOT).split()[-2:]
    assert is_on == "1"
    assert int(seconds) <= 120
