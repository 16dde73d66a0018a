"""deploy/compose.yaml on a Docker engine: Airflow comes up, has the DAGs, and reaches the servers that it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar

import docker
import pytest
import yaml

from stack.airflow_api import AirflowApi
from stack.debian_packages import install_programs
from stack.follow import follow
from stack.home import Home, write_private
from stack.installer import AIRFLOW_LOCK
from stack.settings import HOST, REPOSITORY
from stack.sshd import SshServer, user_name
from tests.production.hosts import Host, network
from tests.production.parts import BRANCH, Databases, Engine, GitServer, on

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DEPLOY"), reason="takes minutes: `make test-deploy`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start an engine"),
]

IMAGE, BASE = "tripclick-airflow:tests", "tripclick-airflow-base:tests"
PYTHON = "3.11"  # Debian 12's, in BASE
PROCESSES = {"api-server", "scheduler", "triggerer", "dag-processor", "edge"}
AIRFLOWS_UID = 50000
PORT = 8080
HELLO = f"""
from airflow.sdk import DAG
from pipeline_config.operators.docker import DockerOperator
from pipeline_config.operators.ssh import SSHOperator

with DAG("hello"):
    SSHOperator(
        task_id="spark_server", ssh_conn_id="spark_ssh", command="command -v spark-submit", cmd_timeout=None
    ) >> DockerOperator(
        task_id="engine", engine_conn_id="docker_server0", image="{IMAGE}", command=["git", "--version"]
    )
"""


class NetworkedEngine(Engine):
    """With Docker's own networks and firewall, which are those of its namespace."""

    network: ClassVar[Sequence[str]] = ()


Servers = tuple[Databases, GitServer, SshServer, NetworkedEngine]


class Compose:
    """docker-compose with deploy/compose.yaml, on an engine, with settings of its own."""

    def __init__(self, engine: Engine, settings: dict[str, str]) -> None:
        self.engine = engine
        self._file = engine.home.folder() / "compose.env"
        write_private(self._file, "".join(f"{name}={value}\n" for name, value in settings.items()))

    def __call__(self, *words: str, text: str = "") -> str:
        """What a command prints; it must succeed."""
        files = ["--env-file", str(self._file), "--file", str(REPOSITORY / "deploy/compose.yaml")]
        done = subprocess.run(
            ["docker-compose", "--project-name", "tripclick", *files, *words],
            env={**os.environ, "DOCKER_HOST": self.engine.address},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def health(self) -> dict[str, str]:
        """Of each process, as the engine has it."""
        return {name: container.attrs["State"]["Health"]["Status"] for name, container in self.containers().items()}

    def containers(self) -> dict[str, Any]:
        """Those that run, by process."""
        client = docker.DockerClient(base_url=self.engine.address)
        try:
            return {found.labels["com.docker.compose.service"]: found for found in client.containers.list()}
        finally:
            client.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Of the servers; COMPOSE_HOME keeps it, with the layers of the image, for the next time."""
    kept = os.environ.get("COMPOSE_HOME")
    return Home(Path(kept) if kept else tmp_path_factory.mktemp("compose"), any_port=True)


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """A network namespace, whose address containers and tests reach."""
    install_programs("docker-compose")
    with network(("compose",), bridge="compose0", addresses=IPv4Network("10.98.8.0/24")) as hosts:
        yield hosts["compose"]


@pytest.fixture(scope="session")
def servers(home: Home, host: Host) -> Iterator[Servers]:
    """Those that Airflow needs."""
    databases, git, ssh = on(host, Databases(home)), on(host, GitServer(home)), on(host, SshServer(home))
    servers = databases, git, ssh, NetworkedEngine(home)  # the engine starts when it has the image
    try:
        for server in (databases, git, ssh):
            server.start()
        yield servers
    finally:
        for each in servers:
            each.stop()


@pytest.fixture(scope="session")
def project(
    servers: Servers,
    host: Host,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A clone with an environment file for these servers, and a DAG that goes to two of them; pushed to the branch."""
    gold, git_server, ssh, engine = servers
    engine.home.claim_port("docker")
    folder = tmp_path_factory.mktemp("project")

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)

    certificates = {"tls_ca_cert": "ca.pem", "tls_client_cert": "client.pem", "tls_client_key": "client.key"}
    connections = {
        "docker_server0": {
            "host": f"tcp://{host.address}:{engine.home.port('docker')}",
            "extra": {name: f"/etc/tripclick/docker/{file}" for name, file in certificates.items()},
        },
        "spark_ssh": {"host": host.address, "port": ssh.home.port("ssh"), "login": user_name()},
        "postgres_gold": {"host": host.address, "port": gold.home.port("postgres")},
    }
    environment = {"description": "For containers", "extends": "production", "connections": connections}
    git("clone", "--quiet", str(REPOSITORY), ".")
    (folder / "pipelines/environments/containers.yaml").write_text(
        yaml.safe_dump({**environment, "schedules": False}), encoding="utf-8"
    )
    (folder / "hello.py").write_text(HELLO, encoding="utf-8")
    (folder / ".airflowignore").write_text("*\n!dag_factory_loader.py\n!hello.py\n", encoding="utf-8")
    git("add", "--all")
    git("-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "--quiet", "-m", "For containers")
    git("push", "--quiet", "--force", str(git_server.repository), f"HEAD:{BRANCH}")
    return folder


@contextmanager
def wheels(folder: Path, port: int) -> Iterator[str]:
    """The options by which pip finds Airflow's packages, which pip has downloaded here: this machine keeps them."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", f"--dest={folder}"]
    download = [sys.executable, "-m", "pip", "download", *options, "--require-hashes", f"--requirement={AIRFLOW_LOCK}"]
    subprocess.run(download, check=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer((HOST, port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"--no-index --find-links=http://{HOST}:{port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def image(home: Home, project: Path, servers: Servers) -> dict[str, Any]:
    """What the engine knows of the image, built of this repository; the build has this machine's network."""
    assert servers
    builder = Engine(home)
    builder.start()
    client = docker.DockerClient(base_url=builder.address, timeout=900)
    try:
        if not client.images.list(BASE):
            archive = home.folder() / "base.tar"
            debian = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates,python3-venv", "bookworm"]
            subprocess.run([*debian, str(archive)], check=True, capture_output=True)
            client.api.import_image(str(archive), *BASE.split(":"))
            archive.unlink()
        with wheels(home.folder("wheels"), home.claim_port("wheels")) as options:
            client.images.build(
                path=str(project),
                dockerfile="deploy/Dockerfile",
                tag=IMAGE,
                network_mode="host",
                buildargs={"BASE_IMAGE": BASE, "PIP_OPTIONS": options},
                rm=True,
            )
        found: dict[str, Any] = client.images.get(IMAGE).attrs
        return found
    finally:
        client.close()
        builder.stop()


@pytest.fixture(scope="session")
def settings(home: Home, servers: Servers, host: Host) -> dict[str, str]:
    """What .env has."""
    gold, git_server, _, engine = servers
    random = ("AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY")
    return {
        **{name: home.secret(name, 48) for name in random},
        "AIRFLOW_FERNET_KEY": home.secret("AIRFLOW_FERNET_KEY", 32) + "=",
        "AIRFLOW_DATABASE": gold.metadata_url,
        "AIRFLOW_IMAGE": IMAGE,
        "AIRFLOW_LISTEN": f"{host.address}:{PORT}",
        "AIRFLOW_URL": f"http://{host.address}:{PORT}",
        "DOCKER_CERTIFICATES": str(engine.home.folder("client")),
        "PIPELINE_ENVIRONMENT": "containers",
        "REPOSITORY": git_server.address,
    }


@pytest.fixture(scope="session")
def compose(
    image: dict[str, Any],
    servers: Servers,
    settings: dict[str, str],
    host: Host,
) -> Iterator[Compose]:
    """All containers, with the secrets of the connections."""
    assert image
    gold, _, ssh, engine = servers
    on(host, engine).start()
    client = engine.home.folder("client")
    for name in ("ca.pem", "client.pem", "client.key"):
        shutil.copy(engine.certificates / name, client)
        os.chown(client / name, AIRFLOWS_UID, AIRFLOWS_UID)
    keys = {"private_key": ssh.client_key.read_text(), "host_key": ssh.host_key, "no_host_key_check": "false"}
    connections = {"postgres_gold": {"password": gold.login["password"]}, "spark_ssh": {"extra": keys}}
    compose = Compose(engine, settings)
    try:
        compose("up", "--detach")
        compose("run", "--rm", "-T", "setup", "python", "-m", "stack", "import-settings", text=json.dumps(connections))
        yield compose
    finally:
        (engine.home.folder() / "containers.log").write_text(compose("logs", "--no-color"), encoding="utf-8")
        compose("down", "--volumes")


@pytest.fixture(scope="session")
def api(compose: Compose, settings: dict[str, str]) -> AirflowApi:
    """A login, once Airflow has the DAGs."""
    assert compose
    api = AirflowApi(settings["AIRFLOW_URL"], "admin", settings["AIRFLOW_ADMIN_PASSWORD"])
    api.wait(lambda: "hello" in api.dags(), "DAGs", 300)
    return api


def test_all_processes_become_healthy(compose: Compose, api: AirflowApi) -> None:
    healthy = dict.fromkeys(PROCESSES, "healthy")
    api.wait(lambda: compose.health() == healthy, f"{compose.health()} are healthy", 300)


def test_airflow_has_the_dags_of_the_branch(api: AirflowApi, project: Path) -> None:
    names = {path.stem for path in (project / "pipelines").rglob("tripclick_*.yaml")}
    api.wait(lambda: set(api.dags()) == {*names, "hello"}, "all DAGs", 120)
    assert api.import_errors() == []


def test_tasks_reach_the_spark_server_and_the_engine(api: AirflowApi) -> None:
    api.call("PATCH", "dags/hello", {"is_paused": False})
    follow(api, [("hello", api.trigger("hello", {}))], "hello", limit_minutes=10)


def test_preflight_runs_in_a_container(compose: Compose) -> None:
    command = "python -m pipeline_config preflight --from-airflow --environment containers || true"
    lines = compose("run", "--rm", "-T", "setup", "sh", "-c", command).splitlines()
    for name in ("docker_server0", "spark_ssh", "postgres_gold"):
        assert any(line.startswith("ok ") and f" {name}: " in line for line in lines), lines
    # Others have no answer here, but the image lacks nothing that they are asked with.
    assert not [line for line in lines if "NotFoundError" in line]


def test_nothing_runs_as_root_or_has_a_secret_that_it_does_not_need(
    compose: Compose, image: dict[str, Any], settings: dict[str, str]
) -> None:
    containers = compose.containers()
    assert containers.keys() == PROCESSES
    for name, container in containers.items():
        assert container.exec_run(["id", "-u"]).output.strip() == str(AIRFLOWS_UID).encode(), name
        assert container.exec_run(["touch", "/opt/airflow/new"]).exit_code != 0, name
    password = settings["AIRFLOW_ADMIN_PASSWORD"]
    assert not any(password in json.dumps(container.attrs) for container in containers.values())
    has_database = {name for name, one in containers.items() if settings["AIRFLOW_DATABASE"] in json.dumps(one.attrs)}
    assert has_database == PROCESSES - {"edge"}
    assert image["Config"]["User"] == "airflow"
    assert image["Size"] < 900e6
