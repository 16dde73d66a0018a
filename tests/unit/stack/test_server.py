"""What all servers have in common, on one that is a sleeping process; and that no proxy hears what they say."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_config import running_airflow
from pipeline_config.errors import CommandError
from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.home import Home, free_port
from stack.process import Daemon
from stack.server import Server, tail
from stack.settings import HOST

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


class _Fake(Server):
    """A server that is a sleeping process; `answers` says what its probe does."""

    name = "fake"
    start_limit = 0.3
    command = SLEEPER
    answers: bool | Exception = True

    @property
    def address(self) -> str:
        return "nowhere"

    def commands(self) -> dict[str, list[str]]:  # type: ignore[override]
        return {"fake": self.command}

    def probe(self) -> bool:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[_Fake]:
    server = _Fake(Home(tmp_path, any_port=True))
    yield server
    server.stop()


def test_a_started_server_is_not_started_again(fake: _Fake) -> None:
    fake.start()
    first = fake.daemons()[0].pid
    fake.start()
    assert fake.daemons()[0].pid == first
    fake.stop()
    assert not fake.is_running()


def test_the_processes_of_a_server_stop_side_by_side(fake: _Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    monkeypatch.setattr(fake, "process_names", lambda: ("scheduler", "triggerer"))
    monkeypatch.setattr(Daemon, "stop", lambda *_: both.wait(5))
    fake.stop()


def test_a_server_that_runs_and_does_not_answer_is_restarted(fake: _Fake) -> None:
    fake.start()
    first = fake.daemons()[0].pid
    fake.answers = OSError("refused")
    with pytest.raises(StackError, match=r"fake does not answer within 0 s \(refused\)"):
        fake.start()
    assert fake.daemons()[0].pid != first


def test_a_server_that_ends_while_it_starts_shows_the_end_of_its_log(fake: _Fake) -> None:
    fake.command = ["sh", "-c", "echo no room left; exit 3"]
    fake.answers = False
    fake.start_limit = 5  # type: ignore[misc]
    with pytest.raises(StackError, match=r"fake ended while it started(.|\n)*fake\.log\n  \| no room left"):
        fake.start()


def test_a_server_starts_within_what_is_named(fake: _Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.within = ("env", "PLACE=elsewhere")
    fake.command = ["sh", "-c", "echo $PLACE; exec sleep 60"]
    fake.start_limit = 5  # type: ignore[misc]
    monkeypatch.setattr(fake, "probe", lambda: fake.daemons()[0].log.read_text(encoding="utf-8") == "elsewhere\n")
    fake.start()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What the environment names as the proxy of all."""
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://{HOST}:{listener.getsockname()[1]}")
        yield listener


def test_a_proxy_sees_nothing_of_the_traffic_on_this_machine(
    proxy: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://{HOST}:{free_port()}"
    with pytest.raises(StackError, match=r"does not answer: .*refused"):
        AirflowApi(address, "admin", "a password").dags()
    for name, value in ((running_airflow.ADDRESS, address), (running_airflow.TOKEN, "a token")):
        monkeypatch.setenv(name, value)
    with pytest.raises(CommandError, match=r"does not answer: .*refused"):
        running_airflow.client()("dags")
    with pytest.raises(BlockingIOError):
        proxy.accept()


def test_servers_keep_the_callers_proxy_and_what_it_leaves_out(
    fake: _Fake, proxy: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "intranet,localhost")
    environment = fake.environment()
    assert environment["http_proxy"].endswith(str(proxy.getsockname()[1]))
    assert environment["no_proxy"] == environment["NO_PROXY"] == "127.0.0.1,localhost,intranet"


def test_tail_shows_the_last_lines_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("1\n2\n3\n", encoding="utf-8")
    assert tail(log, lines=2) == f"  log: {log}\n  | 2\n  | 3"
    assert tail(tmp_path / "none.log") == f"  log: {tmp_path / 'none.log'}"
