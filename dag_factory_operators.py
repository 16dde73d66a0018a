"""What pipelines name of Airflow: its operators, with what our DAGs need of them, and who is told of what.

Addresses and secrets come from connections when the task runs, never from a rendered field.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import subprocess
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.docker.operators.docker import DockerOperator as AirflowDockerOperator
from airflow.providers.ssh.operators.ssh import SSHOperator as AirflowSSHOperator
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError, ErrorType
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.types import Mount
from paramiko import BadHostKeyException, SSHClient, SSHException
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from jobs.cli import ENDS_WITH_STDIN, NON_RETRYABLE, USAGE
from pipeline_config.docker_connection import engine_tls, engine_url

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Connection, Context

log = logging.getLogger("airflow.task")
PROJECT = Path(__file__).parent
LONGEST_COMMAND = 131_071  # Linux: 128 KiB an argument, its end included
STOP_SECONDS = 30  # what a producer needs to flush what it has sent
TASK_LABEL = "tripclick.task"
ENGINE_ERRORS = (DockerException, RequestException, HTTPError, ValueError)
# A connection whose other host is gone ends after a minute: a container may say nothing for hours.
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
# What a container may not: hold a capability, get one by a setuid program, write anywhere but in its own /tmp.
UNPRIVILEGED: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "tmpfs": {"/tmp": "size=64m,nosuid,nodev,noexec"},  # noqa: S108 (the container's)
    "pids_limit": 256,
}
# What libpq and the AWS SDK read, by the connection's field.
POSTGRES_ENVIRONMENT = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "schema",
    "PGUSER": "login",
    "PGPASSWORD": "password",
}
# What a connection's extra may hold besides; paths are those of the Spark server.
EXTRA_ENVIRONMENT = {"AWS_REGION": "region_name", "PGSSLMODE": "sslmode", "PGSSLROOTCERT": "sslrootcert"}
AWS_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "login", "AWS_SECRET_ACCESS_KEY": "password"}


class RenderingNamesVariables(BaseOperator):
    """A missing Airflow variable is one line that says which, and what to do."""

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render; AirflowFailException names the variable that Airflow does not have."""
        try:
            super().render_template_fields(context, jinja_env)
        except AirflowRuntimeError as error:
            if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
                raise
            detail = error.error.detail or {}
            name = detail.get("key") or detail.get("message")
            raise AirflowFailException(
                f"error: Airflow variable not found: {name}; set it under Admin → Variables "
                "(pipelines/catalog.yaml says what each is for)"
            ) from None


class SSHOperator(RenderingNamesVariables, AirflowSSHOperator):
    """Runs a job over SSH; `job_connections` reach it as PG… and AWS_… variables of the SSH channel.

    The server must accept them (`AcceptEnv PG* AWS_*`).
    """

    template_ext: Sequence[str] = ()  # a command that ends in .sh is still a command, not a file to read

    def __init__(self, *, job_connections: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_connections = job_connections

    def execute(self, context: Context | None = None) -> bytes | str:
        """Run the command; red when it ends with anything but 0."""
        _refuse_what_cannot_travel(self.command or "")
        environment = dict(self.environment or {})
        for name in self.job_connections:
            environment |= connection_environment(BaseHook.get_connection(name))
        self.environment = environment
        result: bytes | str = super().execute(context)
        return result

    def raise_for_status(self, exit_status: int, stderr: bytes, context: Context | None = None) -> None:
        """Red for anything but 0, without retries where they would not help."""
        _fail_for_good(exit_status)
        super().raise_for_status(exit_status, stderr, context)

    def get_ssh_client(self) -> SSHClient:
        """Log in; AirflowFailException unless the server shows the host key that the connection or known_hosts has."""
        port = self.hook.port
        fix = (
            f"put the server's key into the extra host_key of connection {self.ssh_conn_id} "
            f"(`ssh-keyscan -p {port} {self.hook.remote_host}` shows it; compare it on the server)"
        )
        where = f"error: SSH to {self.hook.remote_host}:{port}"
        if self.hook.no_host_key_check or self.hook.allow_host_key_change:
            raise AirflowFailException(
                f"{where}: its host key would not be checked; {fix}, and set no_host_key_check false"
            )
        try:
            return super().get_ssh_client()
        except BadHostKeyException as error:
            shown = f"the server shows another host key ({error.key.fingerprint}) than ours"
            raise AirflowFailException(
                f"{where}: {shown}; if it was set up anew, {fix}; if not, find out who answers"
            ) from None
        except SSHException as error:
            if "not found in known_hosts" not in str(error):
                raise
            raise AirflowFailException(f"{where}: its host key is not known; {fix}") from None


def _fail_for_good(exit_code: int) -> None:
    """AirflowFailException, which uses up no retries, when the job says that another try would end like this one."""
    if exit_code in {USAGE, NON_RETRYABLE}:
        raise AirflowFailException(f"exit code {exit_code}: no retry would fix it; the reason stands above")


def _refuse_what_cannot_travel(command: str) -> None:
    """The server's shell takes its command as one argument: of limited length, and without NUL."""
    if "\0" in command:
        raise AirflowFailException("error: a value holds a NUL character, which no command can; look at the params")
    if len(command.encode()) > LONGEST_COMMAND:
        raise AirflowFailException(f"error: the command is longer than {LONGEST_COMMAND} bytes; look at the params")


def connection_environment(connection: Connection) -> dict[str, str]:
    """A connection as environment variables; fields that it has not are left out."""
    names = POSTGRES_ENVIRONMENT if connection.conn_type == "postgres" else AWS_ENVIRONMENT
    values = {name: getattr(connection, field) for name, field in names.items()}
    values |= {name: connection.extra_dejson.get(key) for name, key in EXTRA_ENVIRONMENT.items()}
    return {name: str(value) for name, value in values.items() if value not in (None, "")}


def on_failure(context: Context, notifiers: Sequence[dict[str, Any]]) -> None:
    """A line in the log for a task that has failed after all retries; then each notifier is called."""
    task = context["task_instance"]
    reason = " ".join(str(context.get("exception") or "ended from outside").split())
    log.error("FAILED %s.%s, try %s, run %s: %s", task.dag_id, task.task_id, task.try_number, task.run_id, reason)
    notify(context, notifiers)


def deadline_missed(context: dict[str, Any], notifiers: Sequence[dict[str, Any]]) -> None:
    """A line in the log for a run that is not done by its deadline; then each notifier is called.

    `context` has `deadline` and `dag_run` as mappings, which is all that Airflow gives; `run_id` is added.
    """
    run = context["dag_run"]
    run_id, time = run["dag_run_id"], context["deadline"]["deadline_time"]
    log.error("LATE %s, run %s: not done by %s", run["dag_id"], run_id, time)
    notify({**context, "dag_run": {**run, "run_id": run_id}, "run_id": run_id}, notifiers)


def notify(context: Context | dict[str, Any], notifiers: Sequence[dict[str, Any]]) -> None:
    """Call each notifier (`class`, `arguments`); one that fails is logged and does not keep the others from it."""
    for notifier in notifiers:
        try:
            module, _, name = notifier["class"].rpartition(".")
            getattr(import_module(module), name)(**notifier.get("arguments", {}))(context)
        except Exception:
            log.exception("notifier %s failed", notifier["class"])


class _Lasting(HTTPAdapter):  # type: ignore[misc, unused-ignore]
    """Connections that may be silent for hours, and end when the other host is gone."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests makes it, with KEEPALIVE."""
        super().init_poolmanager(*args, socket_options=[*HTTPConnection.default_socket_options, *KEEPALIVE], **kwargs)


class Engine(APIClient):  # type: ignore[misc]  # docker-py has no types
    """A Docker engine whose containers have no privilege and end with their worker; DockerOperator has no arguments.

    The worker holds the container's stdin. When it is gone, the engine ends stdin, the job stops as ENDS_WITH_STDIN
    tells it, and the engine removes the container.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Lasting())

    def create_host_config(self, *args: Any, auto_remove: bool, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """As docker-py makes it, and UNPRIVILEGED; the engine removes what has ended."""
        config: dict[str, Any] = super().create_host_config(*args, auto_remove=True, **kwargs, **UNPRIVILEGED)
        return config

    def create_container(self, *args: Any, environment: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """As docker-py makes it, with a stdin that ends with its first client, and a job that is told so."""
        told = {**environment, ENDS_WITH_STDIN: "true"}
        container: dict[str, str] = super().create_container(*args, environment=told, stdin_open=True, **kwargs)
        return container

    def start(self, container: str) -> None:
        """Take hold of its stdin and of its end, before it can be gone, and start it."""
        self._stdin = self.attach_socket(container, {"stdin": 1, "stream": 1})
        until = {"condition": "next-exit"}
        self._end = self._post(self._url("/containers/{0}/wait", container), params=until, stream=True, timeout=None)
        super().start(container)

    def wait(self, container: str) -> dict[str, Any]:  # noqa: ARG002
        """How it ended: StatusCode; AirflowFailException where retries would not help, DockerException: unknown."""
        try:
            result: dict[str, Any] = self._result(self._end, True)
        except (RequestException, ValueError) as error:
            raise DockerException(f"it went away while the container ran ({error})") from error
        finally:
            self._stdin.close()
        _fail_for_good(result["StatusCode"])
        return result


def _installation() -> str:
    """What tells this Airflow from others that use the same engine: its address, and its host where that is local."""
    url = conf.get("api", "base_url", fallback="")
    is_local = urlsplit(url).hostname in {None, "localhost", "127.0.0.1", "::1"}
    return f"{platform.node()} {url}" if is_local else url


class DockerOperator(RenderingNamesVariables, AirflowDockerOperator):
    """Runs a container on the engine of the connection `engine_conn_id` (Airflow's `docker_conn_id` is a registry's).

    `read_only_folders` of the engine's host are mounted at the same path, those that are not empty. The container is
    stopped and removed however the task ends, also when its worker is killed.
    """

    template_fields: Sequence[str] = (*AirflowDockerOperator.template_fields, "read_only_folders")
    template_ext: Sequence[str] = ()

    def __init__(self, *, engine_conn_id: str, read_only_folders: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(auto_remove="never", **kwargs)
        self.engine_conn_id = engine_conn_id
        self.read_only_folders = read_only_folders

    @cached_property
    def cli(self) -> Engine:
        """The engine that the connection names, by TLS where it names certificates."""
        connection = BaseHook.get_connection(self.engine_conn_id)
        extra = connection.extra_dejson
        self.docker_url = engine_url(connection.host, connection.port, extra)
        return Engine(base_url=self.docker_url, tls=engine_tls(self.docker_url, extra), timeout=self.timeout)

    def execute(self, context: Context) -> Any:
        """Run the container to its end; red when it ends with anything but 0.

        One that is left of an earlier try, by a worker that the engine has not yet missed, is ended first.
        """
        instance = context["ti"]
        task = f"{_installation()} {instance.dag_id} {instance.run_id} {instance.task_id} {instance.map_index}"
        self.labels = {TASK_LABEL: task}
        self.mounts = [
            *self.mounts,
            *(Mount(folder, folder, type="bind", read_only=True) for folder in self.read_only_folders if folder),
        ]
        try:
            for left in self.cli.containers(all=True, filters={"label": f"{TASK_LABEL}={task}"}):
                self.log.warning("ends container %s of an earlier try, whose worker is gone", left["Id"][:12])
                self.container = left
                self._remove_container()
            return super().execute(context)
        except ENGINE_ERRORS as error:
            raise AirflowException(self._explain(error)) from error
        finally:
            self.on_kill()

    def on_kill(self) -> None:
        """Stop and remove the container, also of a task that was killed or marked; one that stays is only said."""
        try:
            self._remove_container()
        except ENGINE_ERRORS as error:
            self.log.warning("cannot stop and remove the container: %s; without its worker it ends by itself", error)

    def _remove_container(self) -> None:
        container: dict[str, str] | None = self.container
        if container is not None:
            try:
                self.cli.stop(container["Id"], timeout=STOP_SECONDS)
                self.cli.remove_container(container["Id"], force=True)
            except APIError as error:
                if error.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:  # the engine is doing it
                    raise
            self.container = None  # type: ignore[assignment]

    def _explain(self, error: Exception) -> str:
        text = str(getattr(error, "explanation", None) or error)
        if "no space left" in text.lower():
            hint = "the engine's disk is full; free some with `docker system prune`"
        elif "source path does not exist" in text:
            hint = "make that folder on the engine's host, or correct the variable that names it"
        elif "No such image" in text or "not found" in text.lower() or "pull access denied" in text:
            hint = f"build it there: docker build -f jobs/producer/Dockerfile -t {self.image} ."
        else:
            hint = f"is the engine of connection {self.engine_conn_id} right and running?"
        return f"error: Docker engine {self.docker_url}, image {self.image}: {text.strip()}; {hint}"


class LocalProcessOperator(RenderingNamesVariables):
    """Runs what a DockerOperator would run in a container as a process of this machine, where there is no engine.

    `program` is what the image's entrypoint is; `command` the words after it. `engine_conn_id` is not used.
    """

    template_fields: Sequence[str] = ("command",)

    def __init__(
        self, *, program: Sequence[str], command: Sequence[str], engine_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.program = program
        self.command = command
        self.engine_conn_id = engine_conn_id
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002 (Airflow's signature)
        """Run the process to its end, which comes with this one's, too; red when it ends with anything but 0."""
        pipe = subprocess.PIPE
        told = {**os.environ, ENDS_WITH_STDIN: "true"}
        # No `with`: on a time-out it would wait for the process before `on_kill` can end that.
        process = self._process = subprocess.Popen(
            [*self.program, *self.command],
            cwd=PROJECT,
            env=told,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        assert process.stdin  # noqa: S101
        assert process.stdout  # noqa: S101
        for line in process.stdout:
            self.log.info("%s", line.rstrip())
        exit_code = process.wait()
        process.stdin.close()
        process.stdout.close()
        _fail_for_good(exit_code)
        if exit_code:
            raise AirflowException(f"the process ended with exit code {exit_code}; its last lines stand above")

    def on_kill(self) -> None:
        """End the process, so that it can flush."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
