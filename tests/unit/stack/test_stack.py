"""The stack's own rules: ports, secrets, processes, settings; no server is started here."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from pipeline_config import running_airflow
from pipeline_config.errors import CommandError
from stack.airflow_api import AirflowApi
from stack.docker_engine import mounts_below
from stack.errors import StackError
from stack.home import Home, free_port, is_free
from stack.kafka_broker import new_cluster_id
from stack.postgresql import PostgreSql, reader_sql
from stack.process import Daemon, Process, memory, read_process
from stack.producer_image import NoImageError, context_files, fingerprint
from stack.progress import Progress
from stack.server import Server, tail
from stack.settings import DATABASE, HOST, PORTS, REPOSITORY
from stack.stack import Stack
from stack.superset import Superset

T = TypeVar("T")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is stopped at the end, whatever the test did."""
    daemon = Daemon(tmp_path / "sleeper.pid", tmp_path / "sleeper.log")
    yield daemon
    daemon.stop(signal.SIGKILL, 5)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port is set from outside."""
    for port in PORTS.values():
        monkeypatch.delenv(port.variable, raising=False)


# Ports


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
def test_a_variable_that_is_no_port_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STACK_SSH_PORT", text)
    with pytest.raises(StackError, match=r"STACK_SSH_PORT=.* is not a port number"):
        Home(tmp_path).claim_port("ssh")


def test_a_port_that_was_never_claimed_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="python -m stack up"):
        Home(tmp_path).port("kafka")


# Secrets


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    secret = Home(tmp_path).secret("password")
    assert Home(tmp_path).secret("password") == secret
    assert Home(tmp_path).secret("another") != secret
    assert stat.S_IMODE((tmp_path / "secrets" / "password").stat().st_mode) == 0o600


# Processes


def test_a_daemon_runs_in_a_session_of_its_own_and_is_found_again(daemon: Daemon) -> None:
    daemon.start(SLEEPER, os.environ)
    again = Daemon(daemon.pid_file, daemon.log)
    assert again.pid is not None
    process = read_process(again.pid)
    assert process is not None
    assert process.session == again.pid != os.getsid(0)
    assert memory([process]) > 0


def test_a_recycled_pid_is_not_ours(daemon: Daemon) -> None:
    with subprocess.Popen(SLEEPER, start_new_session=True) as stranger:
        daemon.pid_file.write_text(f"{stranger.pid} 1\n", encoding="ascii")
        assert daemon.pid is None
        assert daemon.members() == []
        daemon.stop(signal.SIGTERM, 1)
        assert stranger.poll() is None
        stranger.kill()


def test_stop_ends_what_the_daemon_started_also_in_another_session(daemon: Daemon) -> None:
    script = "sleep 60 & setsid sleep 60 & wait"
    daemon.start(["sh", "-c", script], os.environ)
    started = _wait_for(lambda: daemon.members() if len(daemon.members()) == 3 else [])
    daemon.stop(signal.SIGTERM, 5)
    assert [process for process in started if _runs(process)] == []
    assert not daemon.pid_file.exists()


def test_stop_finds_the_children_of_a_daemon_that_was_killed(daemon: Daemon) -> None:
    daemon.start(["sh", "-c", "setsid sleep 60 & wait"], os.environ)
    _wait_for(lambda: daemon.members() if len(daemon.members()) == 2 else [])
    root = daemon.pid
    assert root is not None
    os.kill(root, signal.SIGKILL)
    left = _wait_for(lambda: daemon.members() if daemon.pid is None else [])
    assert len(left) == 1
    daemon.stop(signal.SIGTERM, 5)
    assert not _runs(left[0])


def test_stop_kills_a_daemon_that_does_not_listen(daemon: Daemon) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    daemon.start([sys.executable, "-c", script], os.environ)
    _wait_for(lambda: [line for line in daemon.log.read_text(encoding="utf-8").split() if line == "deaf"])
    daemon.stop(signal.SIGTERM, 0.2)
    assert daemon.pid is None


def test_stop_is_idempotent(daemon: Daemon) -> None:
    daemon.stop(signal.SIGTERM, 1)
    daemon.stop(signal.SIGTERM, 1)
    assert daemon.pid is None


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


def test_operators_are_given_the_sql_that_leaves_the_reader_nothing_but_reading() -> None:
    page = " ".join((REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8").split())
    for statement in reader_sql(DATABASE):
        if "RESET ALL" not in statement:
            assert f"{' '.join(statement.replace(chr(34), '').split())};" in page


# Servers


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


def test_a_server_that_runs_and_does_not_answer_is_started_anew(fake: _Fake) -> None:
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


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What the environment names as the proxy of all."""
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://{HOST}:{listener.getsockname()[1]}")
        yield listener


def test_a_proxy_hears_nothing_of_what_is_said_to_this_machine(
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


# The producer's image


def test_the_image_is_made_of_the_producer_and_what_it_imports_only() -> None:
    names = {str(path) for path in context_files()}
    assert {"jobs/producer/requirements.lock", "jobs/event.py"} <= names
    assert not [name for name in names if "wheels" in name or "__pycache__" in name or "spark" in name]


def test_the_fingerprint_changes_with_a_name_and_with_a_content(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    first = fingerprint([Path("a")], tmp_path)
    assert fingerprint([Path("b")], tmp_path) != first
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert fingerprint([Path("a")], tmp_path) != first


# Docker


def test_mounts_are_found_below_a_folder_only_and_the_innermost_come_first(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    points = ["/", "/s", "/s/run", r"/s/run/a\040b", "/stranger"]
    table.write_text("".join(f"dev {point} ext4 rw 0 0\n" for point in points), encoding="utf-8")
    assert mounts_below(Path("/s"), table) == [Path("/s/run/a b"), Path("/s/run")]


# The stack as a whole


def test_airflow_starts_while_the_image_is_made_and_again_when_there_can_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, airflow_started, starts = Stack(Home(tmp_path, any_port=True)), threading.Event(), list[str]()

    def no_image(*_: object) -> str:
        assert airflow_started.wait(10), "the image was not made beside Airflow's start"
        raise NoImageError("no package archive")

    def start_airflow() -> None:
        starts.append(stack.airflow.pipeline_environment)
        airflow_started.set()

    for server in stack.servers:
        monkeypatch.setattr(server, "start", lambda: None)
    monkeypatch.setattr(stack.docker, "start", lambda: stack.docker._decide("tcp://127.0.0.1:1"))
    monkeypatch.setattr(stack.airflow, "prepare", lambda: None)
    monkeypatch.setattr(stack.airflow, "import_settings", lambda _: None)
    monkeypatch.setattr(stack.airflow, "start", start_airflow)
    monkeypatch.setattr(stack, "airflow_values", dict)
    monkeypatch.setattr(stack, "airflow_secrets", dict)
    monkeypatch.setattr("stack.stack.ensure_image", no_image)
    stack.up()
    assert starts == ["local", "local_without_docker"]
    assert stack.docker.why_none == "no package archive"


def test_superset_starts_again_when_what_it_was_set_up_with_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, calls = Home(tmp_path, any_port=True), list[str]()
    home.claim_port("postgres")
    home.claim_port("superset")
    superset = Superset(home, PostgreSql(home))
    monkeypatch.setattr(Server, "start", lambda _: calls.append("start"))
    monkeypatch.setattr(superset, "stop", lambda: calls.append("stop"))
    superset._stamp.write_text(superset._fingerprint(), encoding="ascii")
    superset.start()
    superset._stamp.write_text("of other assets", encoding="ascii")
    superset.start()
    assert calls == ["start", "stop", "start"]


# Progress


def test_a_failed_step_says_which_part_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # a busy machine needs longer

    def work() -> str:
        raise StackError("no room left")

    assert not Progress().step("kafka", work)
    assert "kafka          FAILED after 0.0 s: no room left" in capsys.readouterr().out


def test_there_is_no_colour_where_nobody_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert Progress().step("kafka", lambda: "127.0.0.1:1")
    assert "\033" not in capsys.readouterr().out


def _runs(process: Process) -> bool:
    now = read_process(process.pid)
    return now is not None and now.started == process.started


def _wait_for(find: Callable[[], list[T]], limit: float = 5) -> list[T]:
    deadline = time.monotonic() + limit
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def test_a_cluster_id_is_never_read_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(bytes=b"\xfb" * 16))
    found = new_cluster_id()
    assert not found.startswith("-")
    assert len(base64.urlsafe_b64decode(f"{found}==")) == 16
