"""The stack folder: ports that are kept or give way, secrets that are made once, a folder closed to others."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.home import Home, free_port, is_free
from stack.settings import HOST, PORTS


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port is set from outside."""
    for port in PORTS.values():
        monkeypatch.delenv(port.variable, raising=False)


@pytest.mark.usefixtures("no_variables")
def test_a_busy_default_port_gives_way_to_a_free_one(
    tmp_path: Path, busy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PORTS, "kafka", type(PORTS["kafka"])(busy_port, "STACK_KAFKA_PORT"))
    port = Home(tmp_path).claim_port("kafka")
    assert port != busy_port
    assert is_free(port)


@pytest.mark.usefixtures("no_variables")
def test_a_claimed_port_is_kept_for_the_next_start(tmp_path: Path) -> None:
    port = Home(tmp_path, any_port=True).claim_port("kafka")
    assert Home(tmp_path).claim_port("kafka") == port
    assert Home(tmp_path).port("kafka") == port


def test_a_port_that_only_tests_have_is_kept_and_missed_like_any_other(tmp_path: Path) -> None:
    port = Home(tmp_path, any_port=True).claim_port("s3")
    assert Home(tmp_path, any_port=True).claim_port("s3") == port
    with socket.create_server((HOST, port)), pytest.raises(StackError, match=rf"port {port} \(s3\) is in use"):
        Home(tmp_path, any_port=True).claim_port("s3")


def test_a_free_port_is_none_that_a_client_may_get_before_the_server_takes_it() -> None:
    assert {free_port() for _ in range(50)} <= set(range(1024, 32_768)), "Linux gives clients those from 32768 on"


def test_a_variable_wins_over_the_kept_port_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Home(tmp_path, any_port=True).claim_port("kafka")
    wanted = free_port()
    monkeypatch.setenv("STACK_KAFKA_PORT", str(wanted))
    assert Home(tmp_path).claim_port("kafka") == wanted
    monkeypatch.delenv("STACK_KAFKA_PORT")
    assert Home(tmp_path).claim_port("kafka") == wanted


def test_a_busy_port_that_was_asked_for_is_an_error_that_names_the_variable(
    tmp_path: Path, busy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK_SSH_PORT", str(busy_port))
    with pytest.raises(StackError, match=rf"port {busy_port} \(ssh\) is in use .*STACK_SSH_PORT"):
        Home(tmp_path).claim_port("ssh")


@pytest.mark.usefixtures("no_variables")
def test_a_busy_kept_port_is_an_error_since_clients_know_it(tmp_path: Path, busy_port: int) -> None:
    (tmp_path / "ports.json").write_text(json.dumps({"ssh": busy_port}), encoding="utf-8")
    with pytest.raises(StackError, match="STACK_SSH_PORT"):
        Home(tmp_path).claim_port("ssh")


@pytest.mark.parametrize("text", ["abc", "0", "65536", "-1", "12 34"])
def test_a_variable_that_is_not_a_port_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STACK_SSH_PORT", text)
    with pytest.raises(StackError, match=r"STACK_SSH_PORT=.* is not a port number"):
        Home(tmp_path).claim_port("ssh")


def test_a_port_that_was_never_claimed_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="python -m stack up"):
        Home(tmp_path).port("kafka")


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    secret = Home(tmp_path).secret("password")
    assert Home(tmp_path).secret("password") == secret
    assert Home(tmp_path).secret("another") != secret
    assert stat.S_IMODE((tmp_path / "secrets" / "password").stat().st_mode) == 0o600


def as_another_user(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command does that somebody else runs on this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return subprocess.run([*nobody, *command], capture_output=True, text=True, check=False, cwd="/")


def test_the_folder_is_its_owners_alone_also_one_of_an_earlier_version(open_folder: Path) -> None:
    root = open_folder / "stack"
    root.mkdir(mode=0o755)
    (root / "ingestion").mkdir()
    (root / "ingestion" / "2020-10-01.json").write_text("a line", encoding="ascii")
    seen = ["cat", str(root / "ingestion" / "2020-10-01.json")]
    assert as_another_user(*seen).stdout == "a line"
    assert Home(root).folder("ingestion").is_dir()
    assert "Permission denied" in as_another_user(*seen).stderr
    assert stat.S_IMODE(Home(open_folder / "new").folder("run").parent.stat().st_mode) == 0o700


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine may pass; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
