"""A Debian of its own below a folder, reached by ssh as any host is; its processes end with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.home import free_port
from stack.settings import HOST, REPOSITORY

LOCK = REPOSITORY / "deploy/requirements.lock"
# A machine has these before anybody sets it up.
PACKAGES = ("ca-certificates", "iproute2", "openssh-server", "procps", "python3", "systemd")
# No engine starts, which would change this machine's firewall.
POLICY = '#!/bin/sh\n[ "$1" != docker ] || exit 101\n'
# Otherwise a server listens on all addresses of this machine.
LISTEN = "ListenAddress {host}:{port}\n"


@dataclass(frozen=True)
class Machine:
    """The Debian; `port` is root's sshd, `own_port` the one that is set up."""

    root: Path
    keys: Path
    port: int
    own_port: int

    def run(
        self, command: str, user: str = "root", environment: Mapping[str, str] | None = None, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there: as root, or as another user whom the sshd that is set up lets in."""
        environment = environment or {}
        port = self.port if user == "root" else self.own_port
        options = [f"-oUserKnownHostsFile={self.keys}/known_hosts", "-oBatchMode=yes", "-oIdentitiesOnly=yes"]
        sent = [f"-oSendEnv={' '.join(environment)}"] if environment else []
        words = ["ssh", "-F", "/dev/null", *options, *sent, "-i", str(self.keys / "id"), "-p", str(port)]
        return subprocess.run(
            [*words, f"{user}@{HOST}", command],
            env={**os.environ, **environment},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One with the repository of this commit; DEPLOY_ROOT keeps it for the next time."""
    folder = tmp_path_factory.mktemp("machine")
    root = Path(os.environ.get("DEPLOY_ROOT") or folder / "root")
    if not (root / "etc/debian_version").exists():
        include = f"--include={','.join(PACKAGES)}"
        subprocess.run(["mmdebstrap", "--variant=minbase", include, "bookworm", str(root)], check=True)
    machine = Machine(root, folder, free_port(), free_port())
    _prepare(machine)
    sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", f"-oListenAddress={HOST}:{machine.port}"]
    # systemd does not run there: its units are written and enabled, and not started.
    sshd += ["-oSubsystem=sftp internal-sftp", "-oSetEnv=SYSTEMD_OFFLINE=1"]
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", 'mount -t proc proc "$0/proc" && '
              'mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"', str(root)]  # fmt: skip
    with subprocess.Popen([*inside, *sshd]) as process:
        try:
            yield machine
        finally:
            process.kill()


def _prepare(machine: Machine) -> None:
    """Keys, this machine's certificate authorities and pip's settings, the repository, and no engine."""
    root, keys = machine.root, machine.keys
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    public, host = ((keys / f"{name}.pub").read_text(encoding="ascii") for name in ("id", "host"))
    ports = (machine.port, machine.own_port)
    (keys / "known_hosts").write_text("".join(f"[{HOST}]:{port} {host}" for port in ports), encoding="ascii")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (root / "root/.ssh/authorized_keys").write_text(public, encoding="ascii")
    (root / "run/sshd").mkdir(exist_ok=True)
    for name in ("host", "host.pub"):
        target = root / "etc/ssh" / name.replace("host", "ssh_host_ed25519_key")
        shutil.copy(keys / name, target)
    (root / "etc/ssh/sshd_config.d/here.conf").write_text(
        LISTEN.format(host=HOST, port=machine.own_port), encoding="ascii"
    )
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(POLICY, encoding="ascii")
    policy.chmod(0o755)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), root / name)
    shutil.copytree("/usr/local/share/ca-certificates", root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)
    repository = root / "srv/tripclick.git"
    shutil.rmtree(repository, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(REPOSITORY), str(repository)], check=True)
    (root / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="ascii")


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of Ansible, as its lock file has it."""
    folder = Path(os.environ.get("DEPLOY_ANSIBLE") or tmp_path_factory.mktemp("ansible"))
    if not (folder / "bin/ansible-playbook").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        lock = ["--require-hashes", "-r", str(LOCK)]
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *lock], check=True)
    return folder / "bin"
