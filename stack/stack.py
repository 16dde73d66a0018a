"""The stack as a whole: its servers, the order in which they start and stop, and Airflow's settings."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.airflow_api import AirflowApi
from stack.airflow_server import Airflow
from stack.docker_engine import NONE, DockerEngine
from stack.errors import NoImageError, StackError
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.producer_image import ensure_image
from stack.progress import Progress
from stack.server import Server
from stack.settings import REPOSITORY
from stack.sshd import SshServer, user_name
from stack.superset import ADMIN, VIEWER, Superset


class Stack:
    """All servers of one stack folder."""

    def __init__(self, home: Home | None = None) -> None:
        self.home = home or Home()
        self.kafka = KafkaBroker(self.home)
        self.postgres = PostgreSql(self.home)
        self.ssh = SshServer(self.home)
        self.docker = DockerEngine(self.home)
        self.airflow = Airflow(self.home)
        self.superset = Superset(self.home, self.postgres)
        self.servers: list[Server] = [self.kafka, self.postgres, self.ssh, self.docker, self.airflow]
        self.progress = Progress()

    @property
    def log_folder(self) -> Path:
        """Where the web server of this stack keeps its logs: WEBSERVER_INGESTION_PATH."""
        return self.home.folder("ingestion")

    @property
    def pipeline_environment(self) -> str:
        """The file of pipelines/environments that fits what could be started."""
        return "local_without_docker" if self.docker.address == NONE else "local"

    def up(self) -> None:
        """Start what is not running; StackError if a part failed, once the others were started and all was reported."""
        with self._alone():
            self.log_folder.mkdir(exist_ok=True)  # Docker refuses to mount a folder that is not there
            for server in self.servers:
                server.claim()
            self._together(
                lambda: self._start(self.kafka),
                lambda: self._start(self.postgres),
                lambda: self._start(self.ssh),
                self._start_docker,
                lambda: self.progress.step("airflow", self._prepare_airflow, "preparing its database…"),
            )
            # Airflow starts while the image is built, and restarts in the other environment if that fails.
            self._together(self._start_airflow, self._make_image)
            if self.airflow.pipeline_environment != self.pipeline_environment:
                self._together(self._start_airflow)

    def down(self) -> None:
        """Stop everything, in reverse order."""
        with self._alone():
            for server in (self.superset, *reversed(self.servers)):
                running = [daemon for daemon in server.daemons() if daemon.members()]
                server.stop()
                if running:
                    self.progress.line(server.name, "stopped")

    def dashboards(self) -> None:
        """Start Superset next to a running PostgreSQL that has the marts, and print where it is."""
        with self._alone():
            self.superset.claim()
            self._together(lambda: self._start(self.superset))
        self.say_dashboards()

    def say_dashboards(self) -> None:
        """Where Superset is, for each of its users."""
        for user in (ADMIN, VIEWER):
            url, name, password = self.superset.login(user)
            self.progress.line("", f"Superset: {url}  user {name}  password {password}")

    def airflow_login(self) -> tuple[str, str, str]:
        """URL, user and password of Airflow."""
        return self.airflow.login

    def airflow_api(self) -> AirflowApi:
        """A client of this stack's Airflow."""
        return AirflowApi(*self.airflow.login)

    def postgres_login(self) -> dict[str, Any]:
        """The keyword arguments of psycopg.connect for the owner of the marts."""
        return self.postgres.login

    def airflow_values(self) -> dict[str, str]:
        """The values for ${…} in pipelines/environments/local.yaml."""
        return {
            "STACK_HOME": str(self.home.root),
            "STACK_PROJECT_PATH": str(REPOSITORY),
            "STACK_KAFKA_PORT": str(self.home.port("kafka")),
            "STACK_POSTGRES_PORT": str(self.home.port("postgres")),
            "STACK_SSH_PORT": str(self.home.port("ssh")),
            "STACK_SSH_USER": user_name(),
            "STACK_DOCKER_URL": self.docker.address,
        }

    def airflow_secrets(self) -> dict[str, dict[str, Any]]:
        """What is in no file of the repository, by connection id: the password, and the keys of the SSH server."""
        keys = {"key_file": str(self.ssh.client_key), "host_key": self.ssh.host_key, "no_host_key_check": "false"}
        return {
            "postgres_gold": {"password": self.postgres.connection["PGPASSWORD"]},
            "spark_ssh": {"extra": keys},
        }

    def _start(self, server: Server) -> bool:
        def work() -> str:
            server.start()
            return server.address

        return self.progress.step(server.name, work)

    def _start_docker(self) -> bool:
        def work() -> str:
            self.docker.start()
            return "without an engine" if self.docker.address == NONE else self.docker.address

        return self.progress.step("docker", work)

    def _make_image(self) -> bool:
        def work() -> str:
            try:
                return ensure_image(self.docker.address, self.home.folder("docker"), self.progress.saying("image"))
            except NoImageError as error:
                self.docker.give_up(str(error))
                return "without an engine"

        done = self.docker.address == NONE or self.progress.step("image", work)
        if self.docker.address == NONE:
            self.warn_no_docker()
        return done

    def warn_no_docker(self) -> None:
        """That the producers run without containers, and why."""
        self.progress.warn("docker", "NO DOCKER ENGINE: the producers run as local processes, not in containers.")
        self.progress.warn("docker", f"Why: {self.docker.why_unavailable}")

    def _prepare_airflow(self) -> str:
        if not self.airflow.is_running():
            self.airflow.prepare()
        return "database"

    def _start_airflow(self) -> bool:
        def work() -> str:
            self.airflow.pipeline_environment = self.pipeline_environment
            self.airflow.values = self.airflow_values()
            self.airflow.import_settings(self.airflow_secrets())
            self.airflow.start()
            return self.airflow.address

        return self.progress.step("airflow", work)

    def _together(self, *steps: Callable[[], bool]) -> None:
        with ThreadPoolExecutor(max_workers=len(steps)) as pool:
            done = list(pool.map(lambda step: step(), steps))
        if not all(done):
            raise StackError("the stack is incomplete; fix what failed above and run `make up` again")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.home.folder() / "lock").open("w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress.line("stack", "another up or down is running; waiting for it…")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
