"""docker-py's client, for containers that are unprivileged and end with their worker.

Only here are methods of docker-py used that it does not promise (`_post`, `_url`, `_result` and two about sockets): its
own `wait` cannot be asked before the container starts, nor last for hours. tests/unit/test_private_parts.py names them.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from docker import APIClient
from docker.errors import DockerException
from docker.types import CancellableStream
from paramiko import SSHException
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from pipeline_config.job_contract import ENDS_WITH_STDIN
from pipeline_config.operators.shared import fail_without_retries

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

PING_SECONDS = 60.0  # between two questions whether the engine of a running container still answers
PULL_SILENT_SECONDS = 600.0  # the longest that an engine, or the registry behind it, says nothing of a pull
ENGINE_ERRORS = (DockerException, RequestException, HTTPError, SSHException, ValueError)
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


class UnprivilegedDockerClient(APIClient):  # type: ignore[misc]  # docker-py has no types
    """An engine whose containers are unprivileged and end with their worker, for which DockerOperator has no arguments.

    The worker holds the container's stdin. When it is gone, the engine ends stdin, the job stops as ENDS_WITH_STDIN
    tells it, and the engine removes the container. An engine that answers no question any more ends the wait for one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = threading.Event()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Lasting())

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """As requests does, but a pull, for which docker-py sets no limit, has that of PULL_SILENT_SECONDS."""
        limited = kwargs | {"timeout": kwargs["timeout"] or PULL_SILENT_SECONDS}
        answer: Response = super().send(request, **limited)
        return answer

    def create_host_config(self, *args: Any, auto_remove: bool, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Like docker-py's, plus UNPRIVILEGED; the engine removes containers that have ended."""
        config: dict[str, Any] = super().create_host_config(*args, auto_remove=True, **kwargs, **UNPRIVILEGED)
        return config

    def create_container(self, *args: Any, environment: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """Like docker-py's, with a stdin that ends with its first client, which the job watches."""
        environment = {**environment, ENDS_WITH_STDIN: "true"}
        container: dict[str, str] = super().create_container(*args, environment=environment, stdin_open=True, **kwargs)
        return container

    def attach(self, *args: Any, **kwargs: Any) -> CancellableStream:
        """The output of the container."""
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
