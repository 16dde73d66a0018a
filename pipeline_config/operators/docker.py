"""Runs an unprivileged container that ends with its worker."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.docker.operators.docker import DockerOperator as AirflowDockerOperator
from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker.errors import APIError
from docker.types import Mount
from requests.exceptions import RequestException

from pipeline_config.docker_connection import engine_tls, engine_url, how_to_build
from pipeline_config.operators.docker_client import ENGINE_ERRORS, UnprivilegedDockerClient
from pipeline_config.operators.lineage import DeclaringData
from pipeline_config.operators.shared import RenderingNamesVariables, missing_connections_fail

if TYPE_CHECKING:
    from airflow.sdk import Context

STOP_SECONDS = 30  # what a producer needs to flush what it has sent
TASK_LABEL = "pipeline.task"
NO_IMAGE = ("No such image", "pull access denied", "manifest unknown")


def _installation() -> str:
    """What distinguishes this Airflow from others on the same engine: its address, and its host if that is local."""
    url = conf.get("api", "base_url", fallback="")
    is_local = urlsplit(url).hostname in {None, "localhost", "127.0.0.1", "::1"}
    return f"{platform.node()} {url}" if is_local else url


class DockerOperator(RenderingNamesVariables, DeclaringData, AirflowDockerOperator):
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
    def cli(self) -> UnprivilegedDockerClient:
        """The engine that the connection names, through TLS if it names certificates."""
        connection = BaseHook.get_connection(self.engine_conn_id)
        extra = connection.extra_dejson
        self.docker_url = engine_url(connection.host, connection.port, extra)
        tls = engine_tls(self.docker_url, extra)
        return UnprivilegedDockerClient(base_url=self.docker_url, tls=tls, timeout=self.timeout)

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
        is_final = isinstance(error, ValueError) and not isinstance(error, RequestException)
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
