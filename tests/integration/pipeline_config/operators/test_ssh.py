"""SSHOperator gives a job, and its secrets, to no server but the one whose host key is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_config.project import ROOT
from stack.home import Home
from stack.settings import HOST
from stack.sshd import SshServer, user_name
from tests.airflow_process import AirflowProcess
from tests.programs import program
from tests.server_fixtures import running

pytestmark = pytest.mark.integration

RUN = program("runs_by_ssh")
LATE = program("listens_late_by_ssh")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A running SSH server that the test gives another key."""
    yield from running(SshServer(Home(tmp_path_factory.mktemp("ssh"), any_port=True)))


Execute = Callable[..., str]


def connection_to(ssh: SshServer, extra: dict[str, str]) -> dict[str, Any]:
    """An Airflow connection to it."""
    login = {"conn_type": "ssh", "host": HOST, "port": ssh.home.port("ssh"), "login": user_name()}
    return {**login, "extra": {"key_file": str(ssh.client_key), **extra}}


@pytest.fixture
def execute(ssh: SshServer, airflow: AirflowProcess) -> Execute:
    """Touch `mark` on the server and run another command there; the error that the operator raises, if any."""

    def execute(extra: dict[str, str], mark: Path, then: str = "true") -> str:
        env = {"AIRFLOW_CONN_SPARK_SSH": json.dumps(connection_to(ssh, extra))}
        done = airflow.run(RUN, ROOT, text=f"touch '{mark}' && {then}", env=env)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1] if done.stderr else ""

    return execute


def test_a_job_that_no_retry_fixes_fails_without_one(ssh: SshServer, execute: Execute, tmp_path: Path) -> None:
    key = {"host_key": ssh.host_key}
    ended = {code: execute(key, tmp_path / "mark", f"exit {code}") for code in (1, 65)}
    assert ended[1] == "AirflowException SSH operator error: exit status = 1"
    assert ended[65] == "AirflowFailException exit code 65: no retry would fix it; see the reason above"


def test_what_a_command_says_before_anybody_listens_is_logged(ssh: SshServer, airflow: AirflowProcess) -> None:
    env = {"AIRFLOW_CONN_SPARK_SSH": json.dumps(connection_to(ssh, {"host_key": ssh.host_key}))}
    done = airflow.run(LATE, ROOT, text="echo first; cat; echo second; exit 1", env=env)
    said = re.findall(r"\b(first|second)$", done.stdout + done.stderr, re.MULTILINE)
    assert said == ["first", "second"], done


def test_a_server_with_another_host_key_is_refused_and_gets_no_command(
    ssh: SshServer, execute: Execute, tmp_path: Path
) -> None:
    known = ssh.host_key
    assert execute({"host_key": known}, tmp_path / "right") == ""
    assert (tmp_path / "right").exists()

    key = ssh.client_key.with_name("host_key")
    for path in (key, key.with_suffix(".pub")):
        path.unlink()
    ssh.stop()
    ssh.start()  # makes a new one

    refused = {
        "changed": ({"host_key": known}, "the server shows a different host key (SHA256:"),
        "unknown": ({}, "its host key is not known; put the server's key into the extra host_key"),
        "unchecked": ({"no_host_key_check": "true"}, "its host key would not be checked; put the server's key"),
        "changed and let": ({"host_key": known, "allow_host_key_change": "true"}, "would not be checked"),
    }
    for case, (extra, words) in refused.items():
        said = execute(extra, tmp_path / case)
        assert said.startswith(f"AirflowFailException error: SSH to {HOST}:{ssh.home.port('ssh')}: "), case
        assert words in said, case
        assert "host_key of connection spark_ssh" in said, case
        assert not (tmp_path / case).exists(), case
    assert execute({"host_key": ssh.host_key}, tmp_path / "again") == ""
    assert (tmp_path / "again").exists()
