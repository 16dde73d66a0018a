"""Runs an unprivileged container that ends with its worker."""

from __future__ import annotations

import platform
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.docker.operators.docker import DockerOperator as AirflowDockerOperator
from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker import APIClient
from docker.errors import APIError, DockerException, TLSParameterError
from docker.types import CancellableStream, Mount
from paramiko import SSHException
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from pipeline_config.docker_connection import engine_tls, engine_url, how_to_build
from pipeline_config.job_contract import ENDS_WITH_STDIN
from pipeline_config.operators.shared import RenderingNamesVariables, fail_without_retries, missing_connections_fail

if TYPE_CHECKING:
    from airflow.sdk import Context

STOP_SECONDS = 30  # what a producer needs to flush what it has sent
PING_SECONDS = 60.0  # between two questions whether the engine of a running container still answers
TASK_LABEL = "pipeline.task"
ENGINE_ERRORS = (DockerException, RequestException, HTTPError, SSHException, ValueError)
NO_IMAGE = ("No such image", "pull access denied", "manifest unknown")
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


class _Lasting(HTTPAdapter):  # type: ignore[misc, unused-ignore]
    """Connections that may be silent for hours, but end when the other host is gone."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests makes it, with KEEPALIVE."""
        super().init_poolmanager(*args, socket_options=[*HTTPConnection.default_socket_options, *KEEPALIVE], **kwargs)


class Engine(APIClient):  # type: ignore[misc]  # docker-py has no types
    """An engine whose containers are unprivileged and end with their worker, for which DockerOperator has no arguments.

    The worker holds the container's stdin. When it is gone, the engine ends stdin, the job stops as ENDS_WITH_STDIN
    tells it, and the engine removes the container. An engine that answers no question any more ends the wait for one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = threading.Event()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Lasting())

    def create_host_config(self, *args: Any, auto_remove: bool, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Like docker-py's, plus UNPRIVILEGED; the engine removes containers that have ended."""
        config: dict[str, Any] = super().create_host_config(*args, auto_remove=True, **kwargs, **UNPRIVILEGED)
        return config

    def create_container(self, *args: Any, environment: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """Like docker-py's, with a stdin that ends with its first client, which the job watches."""
        told = {**environment, ENDS_WITH_STDIN: "true"}
        container: dict[str, str] = super().create_container(*args, environment=told, stdin_open=True, **kwargs)
        return container

    def attach(self, *args: Any, **kwargs: Any) -> CancellableStream:
        """Its output."""
        self._output = super().attach(*args, **kwargs)
        return self._output

    def start(self, container: str) -> None:
        """Attach to its stdin and wait for its end before it can be gone, and start it."""
        self._stdin = self.attach_socket(container, {"stdin": 1, "stream": 1})
        until = {"condition": "next-exit"}
        self._end = self._post(self._url("/containers/{0}/wait", container), params=until, stream=True)
        self._disable_socket_timeout(self._get_raw_response_socket(self._end))
        super().start(container)
        threading.Thread(target=self._watch, daemon=True).start()

    def wait(self, container: str) -> dict[str, Any]:  # noqa: ARG002
        """How it ended: StatusCode; AirflowFailException if retries would not help, DockerException if unknown."""
        try:
            result: dict[str, Any] = self._result(self._end, True)
        except (RequestException, ValueError) as error:
            raise DockerException(f"it stopped answering while the container ran ({error})") from error
        finally:
            self._ended.set()
            self._stdin.close()
        fail_without_retries(result["StatusCode"])
        return result

    def _watch(self) -> None:
        """End what is read of an engine that is frozen: its host's kernel still says that the connections are well."""
        while not self._ended.wait(PING_SECONDS):
            try:
                self.ping()
            except ENGINE_ERRORS:
                self.close()  # by SSH all is one connection
                for stream in (self._output, CancellableStream(None, self._end)):
                    with suppress(OSError, DockerException):
                        stream.close()
                return


def _installation() -> str:
    """What distinguishes this Airflow from others on the same engine: its address, and its host if that is local."""
    url = conf.get("api", "base_url", fallback="")
    is_local = urlsplit(url).hostname in {None, "localhost", "127.0.0.1", "::1"}
    return f"{platform.node()} {url}" if is_local else url


class DockerOperator(RenderingNamesVariables, AirflowDockerOperator):
    """Runs a container on the engine of the connection `engine_conn_id` (Airflow's `docker_conn_id` is a registry's).

    `read_only_folders` of the engine's host are mounted at the same path, those that are not empty. The container is
    stopped and removed however the task ends, also when its worker is killed. `dockerfile` is what the image is built
    from, for whoever reads that the engine has none.
    """

    template_fields: Sequence[str] = (*AirflowDockerOperator.template_fields, "read_only_folders")
    template_ext: Sequence[str] = ()

    def __init__(
        self, *, engine_conn_id: str, read_only_folders: Sequence[str] = (), dockerfile: str = "", **kwargs: Any
    ) -> None:
        super().__init__(auto_remove="never", **kwargs)
        self.engine_conn_id = engine_conn_id
        self.read_only_folders = read_only_folders
        self.dockerfile = dockerfile

    @cached_property
    def cli(self) -> Engine:
        """The engine that the connection names, through TLS if it names certificates."""
        connection = BaseHook.get_connection(self.engine_conn_id)
        extra = connection.extra_dejson
        self.docker_url = engine_url(connection.host, connection.port, extra)
        return Engine(base_url=self.docker_url, tls=engine_tls(self.docker_url, extra), timeout=self.timeout)

    @missing_connections_fail()
    def execute(self, context: Context) -> Any:
        """Run the container to its end; fails unless the exit code is 0.

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
                self.log.warning("stops container %s of an earlier try, whose worker is gone", left["Id"][:12])
                self.container = left
                self._remove_container()
            return super().execute(context)
        except ENGINE_ERRORS as error:
            raise self._failure(error) from error
        finally:
            self.on_kill()

    def on_kill(self) -> None:
        """Stop and remove the container, also of a task that was killed or marked; failures are only logged."""
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

    def _failure(self, error: Exception) -> AirflowException:
        """What to raise instead; AirflowFailException where a retry would fail like this one."""
        text = str(getattr(error, "explanation", None) or error)
        is_final = isinstance(error, ValueError | TLSParameterError) and not isinstance(error, RequestException)
        if "no space left" in text.lower():
            hint = "the engine's disk is full; free some with `docker system prune`"
        elif "source path does not exist" in text:
            is_final, hint = True, "create that folder on the engine's host, or correct the variable that names it"
        elif any(words in text for words in NO_IMAGE):
            is_final, hint = True, how_to_build(self.image, self.dockerfile)
        elif "not found in known_hosts" in text:
            is_final, hint = True, "put the host's key, once you have compared it, into known_hosts of Airflow's user"
        else:
            hint = f"is the engine of connection {self.engine_conn_id} right and running?"
        kind = AirflowFailException if is_final else AirflowException
        return kind(f"error: Docker engine {self.docker_url}, image {self.image}: {text.strip()}; {hint}")
