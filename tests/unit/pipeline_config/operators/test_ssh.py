"""SSHOperator without a server: which commands it refuses, and what becomes of an argument."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.airflow_process import AirflowProcess
from tests.airflow_project import run
from tests.programs import program

COMMAND = program("renders_a_command")
TOO_MUCH = program("refuses_commands")


def test_a_command_that_no_shell_can_take_is_refused_in_one_line(airflow: AirflowProcess, project: Path) -> None:
    lines = run(airflow, TOO_MUCH, project).splitlines()[-3:]
    assert lines[0].startswith("AirflowFailException error: a value contains a NUL character")
    assert lines[1].startswith("AirflowFailException error: the command is longer than 131071 bytes")
    assert lines[2].startswith("AirflowFailException error: The conn_id `none` isn't defined; add it under Admin")


def test_every_argument_is_one_word_for_the_shell_whatever_is_typed_into_a_form(
    airflow: AirflowProcess, project: Path
) -> None:
    script = run(airflow, COMMAND, project)
    words = subprocess.run(
        ["sh", "-c", script + '\nfor word; do printf "%s\\0" "$word"; done'], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    hostile = "; rm -rf / $(id) 'quoted'\nsecond line"
    assert words[0] == hostile
    assert f"--kafka-brokers={hostile}" in words
    assert "--run-minutes=5; reboot" in words
