"""A Debian of its own below a folder, with its own systemd, reached by ssh as any host is; it ends with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.home import free_port
from stack.settings import HOST, REPOSITORY

BOOT = Path(__file__).with_name("boot.sh")
LOCK = REPOSITORY / "deploy/requirements.lock"
# A machine has these before anybody sets it up.
PACKAGES = ("ca-certificates", "dbus", "iproute2", "openssh-server", "procps", "python3", "systemd", "systemd-sysv")
# Otherwise a server listens on all addresses of this machine.
LISTEN = "ListenAddress {host}:{port}\n"
# An engine would change this machine's firewall; a timer of apt would hold its lock.
ENGINE = "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep infinity\n"
NOT_HERE = ("containerd.service", "apt-daily.timer", "apt-daily-upgrade.timer")
LIMIT_SECONDS = 60
PIP_CACHE = Path.home() / ".cache/pip"


@dataclass(frozen=True)
class Machine:
    """The Debian; `port` is its sshd's."""

    root: Path
    keys: Path
    port: int

    def run(
        self, command: str, user: str = "root", environment: Mapping[str, str] | None = None, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        environment = environment or {}
        options = [f"-oUserKnownHostsFile={self.keys}/known_hosts", "-oBatchMode=yes", "-oIdentitiesOnly=yes"]
        sent = [f"-oSendEnv={' '.join(environment)}"] if environment else []
        words = ["ssh", "-F", "/dev/null", *options, *sent, "-i", str(self.keys / "id"), "-p", str(self.port)]
        return subprocess.run(
            [*words, f"{user}@{HOST}", command],
            env={**os.environ, **environment},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self, command: str) -> str:
        """What a command of root prints; it must succeed."""
        done = self.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def host_key(self) -> str:
        """The public one, as a client knows it."""
        return (self.keys / "host.pub").read_text(encoding="ascii").rsplit(maxsplit=1)[0]


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Path]]:
    """The folder of Ansible's programs, as its lock file has it, once they are installed."""

    def install() -> Path:
        folder = Path(os.environ.get("DEPLOY_ANSIBLE") or tmp_path_factory.mktemp("ansible"))
        if not (folder / "bin/ansible-playbook").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            lock = ["--require-hashes", "-r", str(LOCK)]
            subprocess.run([str(folder / "bin/pip"), "install", "--quiet", "--no-compile", *lock], check=True)
        return folder / "bin"

    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(install)


@pytest.fixture(scope="session")
def machine(ansible: Future[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A new one, made while Ansible is installed; DEPLOY_ROOT keeps it for the next time."""
    assert ansible
    folder = tmp_path_factory.mktemp("machine")
    kept = os.environ.get("DEPLOY_ROOT")
    root = Path(kept or folder / "root")
    if not (root / "etc/debian_version").exists():
        include = f"--include={','.join(PACKAGES)}"
        subprocess.run(["mmdebstrap", "--variant=minbase", include, "bookworm", str(root)], check=True)
    machine = Machine(root, folder, free_port())
    _prepare(machine)
    groups = f"tripclick-{os.getpid()}"
    with subprocess.Popen([str(BOOT), str(root), groups], stdin=subprocess.DEVNULL) as process:
        try:
            _wait(lambda: _is_booted(machine), "the Debian boots")
            yield machine
        finally:
            process.kill()
            process.wait()
            for hierarchy in ("systemd", "unified"):
                _remove_control_groups(Path("/sys/fs/cgroup", hierarchy, groups))
            if not kept:
                subprocess.run(["rm", "--recursive", "--force", "--one-file-system", str(root)], check=True)


def _prepare(machine: Machine) -> None:
    """Keys, this machine's certificate authorities and pip's settings, and what does not run there."""
    root, keys = machine.root, machine.keys
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    (keys / "known_hosts").write_text(f"[{HOST}]:{machine.port} {machine.host_key}\n", encoding="ascii")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(keys / "id.pub", root / "root/.ssh/authorized_keys")
    for name in ("host", "host.pub"):
        shutil.copy(keys / name, root / "etc/ssh" / name.replace("host", "ssh_host_ed25519_key"))
    listen = LISTEN.format(host=HOST, port=machine.port)
    (root / "etc/ssh/sshd_config.d/here.conf").write_text(listen, encoding="ascii")
    units = root / "etc/systemd/system"
    for name in NOT_HERE:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (units / "docker.service.d").mkdir(exist_ok=True)
    (units / "docker.service.d/z-here.conf").write_text(ENGINE, encoding="ascii")
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), root / name)
    _share_downloads(root)
    shutil.copytree("/usr/local/share/ca-certificates", root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)


def _share_downloads(root: Path) -> None:
    """What pip has downloaded and built on this machine, a PySpark above all, is for every user of the new one."""
    cache = root / "var/cache/pip"
    if not cache.exists():
        cache.mkdir()
        if PIP_CACHE.exists():
            subprocess.run(["cp", "--recursive", f"{PIP_CACHE}/.", str(cache)], check=True)
        subprocess.run(["chmod", "--recursive", "a+rwX", str(cache)], check=True)
    (root / "etc/environment").write_text("PIP_CACHE_DIR=/var/cache/pip\n", encoding="ascii")
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n", encoding="ascii")


def _wait(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _is_booted(machine: Machine) -> bool:
    return machine.run("systemctl is-system-running --wait").stdout.strip() in {"running", "degraded"}


def _remove_control_groups(own: Path) -> None:
    """Those of a machine that was killed, the innermost first, when its last process has ended."""
    folders = [*sorted((path for path in own.rglob("*") if path.is_dir()), reverse=True), own]
    _wait(lambda: not any((path / "cgroup.procs").read_text() for path in folders), "its processes end")
    for folder in folders:
        folder.rmdir()
