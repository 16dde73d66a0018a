"""A Docker engine: the machine's own if it answers, else one of ours if we are root, else none, with a warning."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from stack.errors import StackError
from stack.home import OWNERS_ALONE
from stack.server import Server

NONE = "none"
# containerd's socket is in the engine's run folder, and a socket's path has at most 107 characters.
LONGEST_RUN_FOLDER = 70


class DockerEngine(Server):
    """The engine that runs the producers; `address` is its URL, or `none`.

    Whoever reaches an engine is root: our own listens in a folder that nobody else can open.
    """

    name = "docker"
    start_limit: ClassVar[float] = 60.0
    stop_limit: ClassVar[float] = 40.0  # it stops its containers first
    network: ClassVar[Sequence[str]] = ("--bridge=none", "--iptables=false", "--ip6tables=false")

    @property
    def address(self) -> str:
        """What DOCKER_HOST would be; `none` without an engine or before the first start."""
        return self._record.read_text(encoding="utf-8") if self._record.exists() else NONE

    @property
    def why_unavailable(self) -> str:
        """Why there is no engine; empty if there is one."""
        path = self.home.folder("docker") / "why_unavailable"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def process_names(self) -> tuple[str, ...]:
        """No process of ours if the engine is the machine's own, or there is none."""
        return (self.name,) if self.address == self._own_address() else ()

    def start(self) -> None:
        """Find an engine or start one; never fails: without an engine the producers run as local processes."""
        if self.process_names() and self.is_ready():
            return
        machine = next((url for url in machine_engines() if _answers(url)), None)
        if machine:
            if self.process_names():
                self.stop()
            self._decide(machine)
            return
        try:
            self._start_own()
        except StackError as error:
            self.give_up(str(error))

    def give_up(self, why: str) -> None:
        """Do without an engine: stop ours and record the reason."""
        self.stop()
        self._decide(NONE, why)

    def commands(self) -> dict[str, Sequence[str]]:
        """dockerd, without a bridge and without changing the machine's firewall: containers use the host's network.

        The empty settings file overrides the machine's /etc/docker/daemon.json.
        """
        folder = self.home.folder("docker")
        (folder / "daemon.json").write_text("{}\n", encoding="utf-8")
        paths = {
            "config-file": folder / "daemon.json",
            "data-root": folder / "data",
            "exec-root": self._run_folder,
            "pidfile": folder / "dockerd.pid",
        }
        options = [f"--{name}={path}" for name, path in paths.items()]
        where = [f"--host={self.address}", "--group=root"]
        return {self.name: ["dockerd", *where, *options, *self.network, "--log-level=warn"]}

    def prepare(self) -> None:
        """Delete the pid file of a killed engine: the next one would refuse to start."""
        (self.home.folder("docker") / "dockerd.pid").unlink(missing_ok=True)
        self._run_folder.mkdir(mode=OWNERS_ALONE, parents=True, exist_ok=True)

    def probe(self) -> bool:
        """Whether the engine answers a ping."""
        return _answers(self.address)

    def stop(self) -> None:
        """Stop our own engine; the machine's keeps running, without the containers that read this stack's folder."""
        ours = bool(self.process_names())
        if not ours and self.address != NONE:
            _remove_containers(self.address, self.home.root)
        super().stop()
        if ours:
            # The engine leaves its handle of the host's network mounted; a folder with a mount cannot be removed.
            for folder in (self._run_folder, self.home.folder("docker")):
                for mount in mounts_below(folder):
                    subprocess.run(["umount", "--lazy", mount], check=False)
            shutil.rmtree(self._run_folder, ignore_errors=True)

    def _start_own(self) -> None:
        if os.geteuid() != 0:
            raise StackError("no Docker engine answers, and only root can start one")
        if not shutil.which("dockerd"):
            raise StackError(
                "no Docker engine answers, and dockerd is not installed (Debian: apt-get install docker.io)"
            )
        self._decide(self._own_address())
        super().start()

    def _decide(self, url: str, why: str = "") -> None:
        self._record.write_text(url, encoding="utf-8")
        (self._record.parent / "why_unavailable").write_text(why, encoding="utf-8")

    def _own_address(self) -> str:
        return f"unix://{self._run_folder}/docker.sock"

    @property
    def _record(self) -> Path:
        return self.home.folder("docker") / "engine"

    @property
    def _run_folder(self) -> Path:
        folder = self.home.folder("docker") / "run"
        if len(str(folder)) <= LONGEST_RUN_FOLDER:
            return folder
        return Path("/run") / f"stack-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def machine_engines() -> list[str]:
    """Where an engine of this machine may answer. A remote engine would not see our folders and servers."""
    sockets = [Path("/var/run/docker.sock"), Path(f"/run/user/{os.geteuid()}/docker.sock")]
    named = os.environ.get("DOCKER_HOST", "")
    return [*([named] if named.startswith("unix://") else []), *(f"unix://{path}" for path in sockets if path.exists())]


def mounts_below(folder: Path, table: Path = Path("/proc/self/mounts")) -> list[Path]:
    """What is mounted below `folder`, the innermost first."""
    points = (line.split()[1] for line in table.read_text(encoding="utf-8").splitlines())
    # The kernel writes blanks and the like as \\ and three octal digits.
    paths = (Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)) for point in points)
    return sorted((path for path in paths if path.is_relative_to(folder) and path != folder), reverse=True)


def _remove_containers(url: str, folder: Path) -> None:
    import docker

    try:
        client = docker.DockerClient(base_url=url, timeout=60)
    except (docker.errors.DockerException, OSError):
        return  # the machine's engine is gone, and its containers with it
    try:
        for container in client.containers.list():
            sources = [Path(mount.get("Source", "")) for mount in container.attrs["Mounts"]]
            if any(source.is_relative_to(folder) for source in sources):
                container.stop(timeout=20)
                container.remove(force=True)
    except (docker.errors.DockerException, OSError):
        return  # removed by its own task meanwhile
    finally:
        client.close()


def _answers(url: str) -> bool:
    import docker

    try:
        with socket.socket(socket.AF_UNIX) as knock:  # docker-py leaves one open if nobody answers
            knock.connect(url.removeprefix("unix://"))
        client = docker.DockerClient(base_url=url, timeout=5)
    except (docker.errors.DockerException, OSError):
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()
