"""Containers without privileges that end with their worker, and engines that speak TLS."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_config.project import ROOT, load_project
from stack.home import Home
from stack.settings import HOST
from stack.sshd import SshServer, user_name
from tests.airflow_environment import airflow_environment
from tests.airflow_process import AirflowProcess
from tests.certificates import make_certificates
from tests.programs import program
from tests.tls_engine import TlsEngine, tls_extra

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.integration

Execute = Callable[..., Any]
IMAGE = "tripclick-shell:test"
PROGRAMS = ("sh", "cat", "touch", "sleep")
LIMIT_SECONDS = 60
INSTALLATION = "https://airflow.example.org"
INSTANCE = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
RUN = program("runs_a_container")
IMPATIENT = program("runs_an_impatient_container")
# Who it is, what it may, and where it can write.
LOOK = """
while read -r name value; do case $name in Uid:|Cap*|NoNewPrivs:) echo $name $value;; esac; done < /proc/self/status
for place in / /logs /tmp; do touch $place/mark 2>/dev/null && echo writes $place; done
cat /logs/2020-10-01.json
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[TlsEngine]:
    """An engine by TLS that has an image with a shell, below a folder that everybody may pass."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    engine = TlsEngine(Home(folder / "stack", any_port=True))
    make_certificates(engine.certificates)
    try:
        engine._start_own()
        client = engine.connect()
        repository, tag = IMAGE.split(":")
        client.api.import_image_from_data(shell_image(), repository=repository, tag=tag)
        client.close()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture
def client(engine: TlsEngine) -> Iterator[docker.DockerClient]:
    """A client of it."""
    client = engine.connect()
    yield client
    client.close()


def shell_image() -> bytes:
    """A file system that holds PROGRAMS and what they link to, and a /tmp."""
    files = [shutil.which(name) or name for name in PROGRAMS]
    linked = [word for file in files for word in _ldd(file) if word.startswith("/")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for file in sorted({*files, *linked}):
            archive.add(Path(file).resolve(), arcname=file)
        for name in ("tmp", "logs"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(folder)
    return buffer.getvalue()


def _ldd(program: str) -> list[str]:
    return subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()


def given(
    engine: TlsEngine,
    extra: dict[str, str],
    folder: Path,
    entrypoint: Sequence[str],
    folders: Sequence[str] = (),
    address: str = "",
    timeout: int = 60,
    image: str = IMAGE,
) -> tuple[dict[str, str], str]:
    """Environment and stdin of a worker whose operator runs a container of the pipelines' own defaults."""
    own = load_project().defaults.operators["DockerOperator"].arguments
    names = ("network_mode", "mount_tmp_dir", "user", "mem_limit")
    arguments = {name: own[name] for name in names} | {"image": image, "entrypoint": list(entrypoint)}
    arguments |= {"read_only_folders": list(folders), "timeout": timeout}
    arguments["mounts"] = [{"target": "/logs", "source": str(folder), "type": "bind", "read_only": True}]
    connection = {"conn_type": "docker", "host": address or engine.tls_address, "extra": extra}
    asked = {"instance": INSTANCE, "arguments": arguments}
    env = {"AIRFLOW_CONN_DOCKER_SERVER0": json.dumps(connection), "AIRFLOW__API__BASE_URL": INSTALLATION}
    return env, json.dumps(asked)


@pytest.fixture
def execute(engine: TlsEngine, airflow: AirflowProcess, tmp_path: Path) -> Execute:
    """What the operator returns of a container that runs a script, or its error."""

    def execute(script: str, extra: dict[str, str], folders: Sequence[str] = ()) -> Any:
        env, text = given(engine, extra, tmp_path, ["sh", "-c", script], folders)
        done = airflow.run(RUN, ROOT, text=text, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stderr.splitlines()[-1])

    return execute


def happening(client: docker.DockerClient, *actions: str) -> Iterator[tuple[str, str]]:
    """Action and id of what happens to containers from now on."""
    now = time.time()
    # With an end and no beginning the engine tells of other tests' containers first.
    events = client.events(
        decode=True,
        filters={"type": "container", "event": list(actions)},
        since=f"{now:.6f}",
        until=int(now) + LIMIT_SECONDS,
    )
    return ((event["Action"], event["id"]) for event in events)


def test_a_container_has_no_privilege_and_writes_nowhere_but_in_its_own_tmp(
    engine: TlsEngine, execute: Execute, tmp_path: Path
) -> None:
    (tmp_path / "2020-10-01.json").write_text("a line\n", encoding="ascii")
    tmp_path.chmod(0o777)
    lines = execute(LOOK, tls_extra(engine.certificates))
    none = "0000000000000000"
    sets = [f"Cap{name}: {none}" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")]
    nobody = "Uid: 65534 65534 65534 65534"
    assert lines == [nobody, *sets, "NoNewPrivs: 1", "writes /tmp", "a line"]


def test_a_folder_is_mounted_at_its_own_path_to_be_read_and_an_empty_one_is_none(
    engine: TlsEngine, execute: Execute, tmp_path: Path
) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "client.properties").write_text("a line\n", encoding="ascii")
    tmp_path.chmod(0o777)
    script = f"cd {tmp_path}/kafka && cat client.properties; touch mark 2>/dev/null || echo refused"
    lines = execute(script, tls_extra(engine.certificates), ["", f"{tmp_path}/kafka"])
    assert lines == ["a line", "refused"]


def test_nobody_else_on_this_machine_reaches_an_engine_of_ours(engine: TlsEngine) -> None:
    socket_of = engine.address.removeprefix("unix://")
    reach = f"import socket; socket.socket(socket.AF_UNIX).connect({socket_of!r}); print('in')"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for prefix, said in (([], "in\n"), (nobody, "")):
        done = subprocess.run(
            [*prefix, "/usr/bin/python3", "-c", reach], capture_output=True, text=True, cwd="/", check=False
        )
        assert done.stdout == said
        assert ("PermissionError" in done.stderr) == bool(prefix), done.stderr


def test_plaintext_is_refused_unless_the_connection_allows_it(execute: Execute, engine: TlsEngine) -> None:
    assert "plaintext" in str(execute("echo in", {}))
    meant = str(execute("echo in", {"plaintext": True}))
    assert "HTTP request to an HTTPS server" in meant, "it has asked"
    assert str(engine.tls_address) in meant


def test_an_engine_by_tls_lets_in_who_has_a_certificate_and_nobody_else(
    engine: TlsEngine, execute: Execute, tmp_path: Path
) -> None:
    extra = tls_extra(engine.certificates)
    assert execute("echo in", extra) == ["in"]
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    refused = {
        "no certificate": {},
        "of another authority": {**tls_extra(other), "tls_ca_cert": extra["tls_ca_cert"]},
        "the engine's is not of ours": {**extra, "tls_ca_cert": str(other / "ca.pem")},
        "a key is missing": {name: path for name, path in extra.items() if name != "tls_client_key"},
        "no such file": {**extra, "tls_client_cert": "/nowhere.pem"},
    }
    said = {case: execute("echo in", extra) for case, extra in refused.items()}
    for case, words in said.items():
        kind = (
            "AirflowFailException"
            if case in {"no certificate", "a key is missing", "no such file"}
            else "AirflowException"
        )
        assert str(words).startswith(f"{kind} error: Docker engine {engine.tls_address}"), (case, words)
    assert "TLS needs tls_client_key too" in said["a key is missing"]
    assert "no such file on this host: tls_client_cert /nowhere.pem" in said["no such file"]


def test_an_engine_is_reached_by_ssh_once_its_host_key_is_known(
    engine: TlsEngine, airflow: AirflowProcess, tmp_path: Path
) -> None:
    class EnginesHost(SshServer):
        def session_environment(self) -> dict[str, str]:
            return {**super().session_environment(), "DOCKER_HOST": engine.address}

    settings = tmp_path / ".ssh"
    settings.mkdir()
    host = EnginesHost(Home(tmp_path / "host", any_port=True))
    said = []
    try:
        host.start()
        port = host.home.port("ssh")
        (settings / "config").write_text(f"Host {HOST}\n  IdentityFile {host.client_key}\n", encoding="ascii")
        _, text = given(engine, {}, tmp_path, ["sh", "-c", "echo in"])
        connection = json.dumps({"conn_type": "docker", "host": f"ssh://{user_name()}@{HOST}:{port}"})
        env = {"AIRFLOW_CONN_DOCKER_SERVER0": connection, "HOME": str(tmp_path)}
        for known in ("", f"[{HOST}]:{port} {host.host_key}\n"):
            (settings / "known_hosts").write_text(known, encoding="ascii")
            done = airflow.run(RUN, ROOT, text=text, env=env)
            said.append(json.loads(done.stderr.splitlines()[-1]))
    finally:
        host.stop()
    assert said[0].startswith("AirflowFailException error: Docker engine ssh://"), said[0]
    assert "not found in known_hosts" in said[0]
    assert said[1] == ["in"]


def test_a_container_that_no_retry_fixes_fails_without_one(engine: TlsEngine, execute: Execute) -> None:
    extra = tls_extra(engine.certificates)
    ended = {code: str(execute(f"exit {code}", extra)) for code in (1, 65)}
    assert ended[1].startswith("DockerContainerFailedException ")
    assert ended[65] == "AirflowFailException exit code 65: no retry would fix it; see the reason above"


def test_a_missing_image_folder_or_connection_fails_without_a_retry(
    engine: TlsEngine, execute: Execute, airflow: AirflowProcess, tmp_path: Path
) -> None:
    extra = tls_extra(engine.certificates)
    assert str(execute("echo in", extra, [f"{tmp_path}/nowhere"])).startswith(
        "AirflowFailException error: Docker engine"
    )
    _, text = given(engine, extra, tmp_path, ["true"])
    missing = {"AIRFLOW_CONN_DOCKER_SERVER0": "", "AIRFLOW__API__BASE_URL": INSTALLATION}
    said = json.loads(airflow.run(RUN, ROOT, text=text, env=missing).stderr.splitlines()[-1])
    assert said.startswith("AirflowFailException error: The conn_id `docker_server0` isn't defined; add it"), said


def test_a_container_ends_with_its_worker(engine: TlsEngine, client: docker.DockerClient, tmp_path: Path) -> None:
    happened = happening(client, "start", "destroy")
    reads = ["sh", "-c", "[ -p /dev/stdin ] || sleep 600; cat"]
    _, text = given(engine, {}, tmp_path, reads)
    env = {"AIRFLOW_CONN_DOCKER_SERVER0": json.dumps({"conn_type": "docker", "host": engine.address})}  # its socket
    env |= os.environ | airflow_environment(tmp_path / "airflow", ROOT, "local")
    words = [sys.executable, "-W", "ignore", "-c", RUN]
    with subprocess.Popen(words, cwd=ROOT, env=env, stdin=subprocess.PIPE, text=True) as worker:
        assert worker.stdin
        worker.stdin.write(text)
        worker.stdin.close()
        assert next(happened, ("nothing", ""))[0] == "start"
        worker.kill()
        assert next(happened, ("it stays", ""))[0] == "destroy"


class Way:
    """A port that leads to another one, until it is cut, or frozen: then it takes what comes, and answers nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flows = threading.Event()
        self._flows.set()
        self.freeze = self._flows.clear
        self._sockets = [socket.create_server((HOST, 0))]
        self.address = f"tcp://{HOST}:{self._sockets[0].getsockname()[1]}"
        threading.Thread(target=self._lead, daemon=True).start()

    def _lead(self) -> None:
        with suppress(OSError):
            while True:
                ends = [self._sockets[0].accept()[0], socket.create_connection((HOST, self._port))]
                self._sockets += ends
                for source, target in (ends, reversed(ends)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Nothing passes any more."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._flows.set()


@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_an_engine_that_goes_away_is_reported_at_once(
    engine: TlsEngine, client: docker.DockerClient, airflow: AirflowProcess, tmp_path: Path, how: str
) -> None:
    way = Way(int(engine.tls_address.rpartition(":")[2]))
    destroyed = happening(client, "destroy")
    os.mkfifo(tmp_path / "started")
    started = os.open(tmp_path / "started", os.O_RDONLY | os.O_NONBLOCK)

    def go_away_when_it_runs() -> None:
        if select.select([started], [], [], LIMIT_SECONDS)[0]:
            getattr(way, how)()

    going = threading.Thread(target=go_away_when_it_runs)
    going.start()
    env, text = given(engine, tls_extra(engine.certificates), tmp_path, ["cat"], address=way.address, timeout=1)
    done = airflow.run(IMPATIENT, ROOT, text=text, env=env | {"STARTED": str(tmp_path / "started")})
    going.join()
    way.cut()
    os.close(started)
    said = json.loads(done.stderr.splitlines()[-1])
    assert said.startswith(f"AirflowException error: Docker engine {way.address}, image {IMAGE}: "), said
    assert "it stopped answering while the container ran" in said
    assert "is the engine of connection docker_server0 right and running?" in said
    assert "Max retries" not in said, "that is what the removal of the container met"
    assert next(destroyed, ("it stays", ""))[0] == "destroy"


def test_a_registry_that_never_answers_ends_the_wait_for_the_image(
    engine: TlsEngine, airflow: AirflowProcess, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as registry:  # connects, and that is all
        image = f"{HOST}:{registry.getsockname()[1]}/producer:1"
        env, text = given(engine, tls_extra(engine.certificates), tmp_path, ["true"], image=image)
        done = airflow.run(IMPATIENT, ROOT, text=text, env=env)
    said = json.loads(done.stderr.splitlines()[-1])
    assert said.startswith(f"AirflowException error: Docker engine {engine.tls_address}, image {image}: "), said
    assert "Read timed out" in said


def test_what_a_killed_worker_left_of_the_same_task_is_ended_by_its_next_try(
    engine: TlsEngine, client: docker.DockerClient, execute: Execute
) -> None:
    def left(installation: str = INSTALLATION, **change: Any) -> Any:
        waits = ["sh", "-c", "trap exit TERM; sleep 600 & wait"]
        task = " ".join(str(value) for value in (installation, *(INSTANCE | change).values()))
        return client.containers.run(IMAGE, waits, detach=True, labels={"pipeline.task": task}, network_mode="host")

    others = {left(map_index=1).id, left(run_id="another").id, left("https://another.example.org").id}
    lost, destroyed = left().id, happening(client, "destroy")
    assert execute("echo in", tls_extra(engine.certificates)) == ["in"]
    gone = {next(destroyed, ("", ""))[1] for _ in ("lost", "its next try")}
    assert lost in gone
    running = client.containers.list(all=True)
    assert {container.id for container in running} == others
    for container in running:
        container.remove(force=True)
