"""The stack folder: ports and secrets that outlive a restart, process files and logs."""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import threading
from pathlib import Path

from stack.errors import StackError
from stack.settings import HOST, PORTS, default_home

OWNERS_ALONE = 0o700
SERVER_PORTS = range(20_000, 32_768)


class Home:
    """One stack folder. `any_port` takes free ports instead of the defaults: tests run beside a running stack."""

    def __init__(self, root: Path | None = None, *, any_port: bool = False) -> None:
        self.root = root or default_home()
        self._any_port = any_port
        self._lock = threading.RLock()

    def folder(self, *names: str) -> Path:
        """A folder below the root, created if missing. Only its owner can open the root: the log is in it."""
        path = self.root.joinpath(*names)
        try:
            self.root.mkdir(mode=OWNERS_ALONE, parents=True, exist_ok=True)
            if stat.S_IMODE(self.root.stat().st_mode) != OWNERS_ALONE:
                self.root.chmod(OWNERS_ALONE)
            path.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            raise StackError(f"{self.root} belongs to another user: set STACK_HOME to a folder of your own") from error
        return path

    def log(self, process: str) -> Path:
        """The log file of a process."""
        return self.folder("server-logs") / f"{process}.log"

    def pid_file(self, process: str) -> Path:
        """The file that remembers a started process."""
        return self.folder("run") / f"{process}.pid"

    def secret(self, name: str, length: int = 24) -> str:
        """A random secret, created at first use and stored in a file that only its owner can read."""
        path = self.folder("secrets") / name
        with self._lock:
            if not path.exists():
                write_private(path, secrets.token_urlsafe(length))
            return path.read_text(encoding="utf-8")

    def port(self, name: str) -> int:
        """The port that was claimed for `name`."""
        ports = self._ports()
        if name not in ports:
            raise StackError(f"the stack in {self.root} has no port for {name} yet: start it with `python -m stack up`")
        return ports[name]

    def claim_port(self, name: str) -> int:
        """Choose and remember a free port: the variable's, else the last one, else the default or any."""
        with self._lock:
            known = self._ports()
            explicit = None if self._any_port else _from_variable(name)
            port = explicit or known.get(name)
            if port and not is_free(port):
                way_out = f", or set {PORTS[name].variable}" if name in PORTS else ""  # some servers only tests have
                raise StackError(f"port {port} ({name}) is in use by another program: stop that{way_out}")
            if not port:
                port = free_port() if self._any_port or not is_free(PORTS[name].default) else PORTS[name].default
            if known.get(name) != port:
                write_private(self.folder() / "ports.json", json.dumps({**known, name: port}, indent=2, sort_keys=True))
            return port

    def _ports(self) -> dict[str, int]:
        path = self.root / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return ports


def write_private(path: Path, text: str) -> None:
    """Write `text` so that no one but the owner can ever read it, and no reader sees half of it."""
    new = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free port of 127.0.0.1, outside of the range from which Linux takes ports for clients."""
    while not is_free(port := secrets.choice(SERVER_PORTS)):
        pass
    return port


def _from_variable(name: str) -> int | None:
    variable = PORTS[name].variable
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"{variable}={text} is not a port number")
    return int(text)
