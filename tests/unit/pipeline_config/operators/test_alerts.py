"""Alerts: a line in the log, and notifiers one of which fails."""

from __future__ import annotations

from pathlib import Path

from tests.airflow_process import AirflowProcess
from tests.airflow_project import run
from tests.programs import program

TOLD = program("tells_notifiers")


def test_a_failure_is_a_line_in_the_log_and_one_notifier_that_fails_does_not_hide_the_next(
    airflow: AirflowProcess, project: Path
) -> None:
    lines = run(airflow, TOLD, project).splitlines()
    assert "FAILED d.t, try 3, run r: two lines" in lines
    assert "notifier people.Notifier failed" in lines
    assert "ValueError: no route to x" in lines
    assert "told y of r" in lines
    assert "LATE d, run late: not done by 05:00" in lines
    assert "told y of late" in lines
