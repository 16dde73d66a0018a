"""What every server of the stack has in common: start, wait until it answers, stop."""

from __future__ import annotations

import http.client
import os
import signal
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from stack.errors import StackError
from stack.home import Home
from stack.process import Daemon, memory
from stack.settings import HOST

POLL_SECONDS = 0.2
LAST_LINES = 8


class Server(ABC):
    """A server made of one or more processes. `start` and `stop` may be called at any time, in any state."""

    name: ClassVar[str]
    ports: ClassVar[tuple[str, ...]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_limit: ClassVar[float] = 60.0
    stop_limit: ClassVar[float] = 20.0
    host: str = HOST
    within: Sequence[str] = ()  # the words before each command that start it elsewhere, in a network namespace

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    @abstractmethod
    def address(self) -> str:
        """The address at which clients reach the server."""

    @abstractmethod
    def commands(self) -> dict[str, Sequence[str]]:
        """The processes to run: name → command line."""

    @abstractmethod
    def probe(self) -> bool:
        """One real exchange with the server; False or any exception means not ready."""

    def environment(self) -> dict[str, str]:
        """The environment of its processes: the caller's, but without its proxies for local traffic."""
        return os.environ | dict.fromkeys(("no_proxy", "NO_PROXY"), without_proxy())

    def claim(self) -> None:
        """Claim its ports, unless it already runs on them."""
        if not self.is_running():
            for port in self.ports:
                self.home.claim_port(port)

    def prepare(self) -> None:
        """Create what its processes need: folders, settings, databases."""

    def complete(self) -> None:
        """What remains to be done once it answers."""

    def process_names(self) -> tuple[str, ...]:
        """The names of its processes, known without starting it."""
        return (self.name,)

    def daemons(self) -> list[Daemon]:
        """The processes of the server, running or not."""
        return [Daemon(self.home.pid_file(name), self.home.log(name)) for name in self.process_names()]

    def is_running(self) -> bool:
        """Whether all its processes run."""
        return all(daemon.pid for daemon in self.daemons())

    def is_ready(self) -> bool:
        """Whether it runs and answers."""
        try:
            return self.is_running() and self.probe()
        except Exception:  # noqa: BLE001  a server that starts refuses in many ways; wait_until_ready tells the last
            return False

    def memory(self) -> int:
        """Bytes of memory held by its processes and their descendants."""
        return memory({process for daemon in self.daemons() for process in daemon.members()})

    def start(self) -> None:
        """Start what is not running and wait until it answers; StackError says why if it does not."""
        if not self.is_ready():
            self.stop()  # remains of a failed start would hold the ports
            self.claim()
            self.prepare()
            for name, command in self.commands().items():
                daemon = Daemon(self.home.pid_file(name), self.home.log(name))
                daemon.start([*self.within, *command], self.environment())
            self._wait_until_ready()
        self.complete()

    def stop(self) -> None:
        """Stop all its processes in parallel, with all their descendants."""
        with ThreadPoolExecutor() as threads:
            for _ in threads.map(lambda daemon: daemon.stop(self.stop_signal, self.stop_limit), self.daemons()):
                pass

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_limit
        why = ""
        while time.monotonic() < deadline:
            dead = next((daemon for daemon in self.daemons() if not daemon.pid), None)
            if dead:
                raise StackError(f"{self.name} ended while it started.\n{tail(dead.log)}")
            try:
                if self.probe():
                    return
            except Exception as error:  # noqa: BLE001  see is_ready
                why = f" ({error})"
            time.sleep(POLL_SECONDS)
        logs = "\n".join(tail(daemon.log) for daemon in self.daemons())
        raise StackError(f"{self.name} does not answer within {self.start_limit:.0f} s{why}.\n{logs}")


def open_directly(request: str | urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    """Like urlopen, but never through a proxy from the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    return response


def without_proxy() -> str:
    """The value of no_proxy: this machine, and what the caller has there. Libraries read one of its two spellings."""
    named = (os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY"))
    return ",".join(dict.fromkeys([HOST, "localhost", *(host for text in named for host in text.split(",") if host)]))


def tail(log: Path, lines: int = LAST_LINES) -> str:
    """The end of a log, and where the rest is."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"  log: {log}", *(f"  | {line}" for line in text[-lines:])])
