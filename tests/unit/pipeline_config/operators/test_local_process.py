"""LocalProcessOperator: a process ends with its worker."""

from __future__ import annotations

from pathlib import Path

from tests.airflow_process import AirflowProcess
from tests.airflow_project import run
from tests.programs import program

ORPHAN = program("orphans_a_job")


def test_a_local_process_ends_with_its_worker(airflow: AirflowProcess, project: Path) -> None:
    assert run(airflow, ORPHAN, project, program("waits_for_a_signal")).splitlines()[-1] == "ended"
