"""Our own SSH server, standing in for the Spark server: one user, one key, the repository's Python and Java."""

from __future__ import annotations

import getpass
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import spark_start
from stack.errors import StackError
from stack.home import write_private
from stack.machine import java_home, server_program
from stack.process import MARKER
from stack.server import Server
from stack.settings import REPOSITORY, template

SETTINGS = template("sshd_config")
SPARK_DEFAULTS = template("spark-defaults.conf")
SPARK_LOGGING = template("spark-log4j2.properties")


class SshServer(Server):
    """sshd for the current user, by public key only."""

    name = "ssh"
    ports = ("ssh",)
    start_limit = 20.0

    @property
    def address(self) -> str:
        """user@host:port"""
        return f"{user_name()}@{self.host}:{self.home.port('ssh')}"

    @property
    def client_key(self) -> Path:
        """The private key that opens this server."""
        return self._folder / "client_key"

    @property
    def host_key(self) -> str:
        """The server's public key, as `type base64`."""
        return " ".join((self._folder / "host_key.pub").read_text(encoding="ascii").split()[:2])

    def commands(self) -> dict[str, Sequence[str]]:
        """The listener; it re-executes itself for each session, so it needs its own full path."""
        return {self.name: [str(_program()), "-D", "-e", "-f", str(self._folder / "sshd_config")]}

    def prepare(self) -> None:
        """Create the keys the first time; write the settings of the server and of Spark."""
        for name in ("host_key", "client_key"):
            if not (self._folder / name).exists():
                key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"tripclick stack {name}"]
                subprocess.run([*key, "-f", str(self._folder / name)], check=True)
        if os.geteuid() == 0:
            # sshd's privilege separation needs this empty folder; where sshd is a service, the boot creates it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        spark, scratch = self.home.folder("spark", "conf"), self.home.folder("spark", "scratch")
        defaults = SPARK_DEFAULTS.format(host=self.host, scratch=scratch) + spark_start.defaults()
        (spark / "spark-defaults.conf").write_text(defaults, encoding="utf-8")
        (spark / "log4j2.properties").write_text(SPARK_LOGGING, encoding="utf-8")
        environment = " ".join(f'"{name}={value}"' for name, value in self.session_environment().items())
        settings = SETTINGS.format(
            host=self.host, port=self.home.port("ssh"), folder=self._folder, user=user_name(), environment=environment
        )
        write_private(self._folder / "sshd_config", settings)

    def session_environment(self) -> dict[str, str]:
        """What every session of the Spark server has: spark-submit on its PATH, Java, Spark's settings."""
        programs = Path(sys.executable).parent
        return {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "JAVA_HOME": str(java_home()),
            "PYSPARK_PYTHON": str(programs / "python"),
            "PYTHONPATH": str(REPOSITORY),
            "SPARK_CONF_DIR": str(self.home.folder("spark", "conf")),
            "SPARK_LOCAL_IP": self.host,
            "SPARK_LOCAL_HOSTNAME": "localhost",
            # bash reads ~/.bashrc in a session of sshd, unless it is not the first shell: a PATH set there would win.
            "SHLVL": "1",
            MARKER: str(self.home.pid_file(self.name)),
            **{name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL")},
        }

    def probe(self) -> bool:
        """Whether a real login finds spark-submit."""
        return self.run("command -v spark-submit").returncode == 0

    def run(self, command: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in a session of the server, as an SSHOperator would, and ask it to take `environment`."""
        environment = environment or {}
        known_hosts = self._folder / "known_hosts"
        known_hosts.write_text(f"[{self.host}]:{self.home.port('ssh')} {self.host_key}\n", encoding="ascii")
        options = {
            "UserKnownHostsFile": f'"{known_hosts}"',
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "SendEnv": " ".join(environment) or "none",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        target = ["-p", str(self.home.port("ssh")), "-i", str(self.client_key), f"{user_name()}@{self.host}"]
        return subprocess.run(
            ["ssh", "-F", "/dev/null", *words, *target, command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def _folder(self) -> Path:
        return self.home.folder("ssh")


def user_name() -> str:
    """The current user, by id: the environment may say anything."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _program() -> Path:
    found = server_program("sshd")
    if found is None:
        raise StackError("no sshd found: run `make install` (Debian: apt-get install openssh-server)")
    return Path(found)
