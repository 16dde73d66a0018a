"""A login over SSH with host key verification, like Airflow's SSH provider, and commands run through it."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure
from pipeline_config.preflight.settings import Connection

if TYPE_CHECKING:
    import paramiko

SESSIONS = 8  # at a time over one login; sshd accepts ten


@dataclass(frozen=True)
class Done:
    """How a remote command ended: its exit code, and all that it printed."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of the output, which is where a program says why it failed."""
        return (self.output.strip().splitlines() or [f"exit code {self.code}"])[-1]


class Login:
    """An open SSH connection. Commands may run concurrently, each in its own session."""

    def __init__(self, name: str, connection: Connection) -> None:
        """Log in; Failure says what the connection or the server lacks."""
        self.name = name
        self.connection = connection
        self.port = connection.port or 22
        self._sessions = threading.BoundedSemaphore(SESSIONS)
        self._client = self._connected()

    @property
    def address(self) -> str:
        """user@host:port"""
        return f"{self.connection.login}@{self.connection.host}:{self.port}"

    def run(self, command: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> Done:
        """Run a command as a job would run; `environment` reaches it as far as the server accepts it."""
        transport = self._client.get_transport()
        assert transport is not None  # noqa: S101  it is connected
        with self._sessions, transport.open_session(timeout=ANSWER_SECONDS) as channel:
            channel.set_combine_stderr(True)
            channel.update_environment(dict(environment or {}))
            channel.exec_command(command)
            channel.sendall(stdin.encode())
            channel.shutdown_write()
            output = channel.makefile("rb").read().decode(errors="replace")
            return Done(channel.recv_exit_status(), output)

    def _connected(self) -> paramiko.SSHClient:
        import paramiko

        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # what goes wrong is one line of ours
        if str(self.connection.extra.get("no_host_key_check", "")).lower() == "true":
            raise Failure("the host key is not checked (no_host_key_check)", f"{self._key_fix}, without that key")
        client = paramiko.SSHClient()  # refuses a host whose key it does not know
        client.load_system_host_keys()
        self._trust(client)
        try:
            client.connect(
                self.connection.host,
                self.port,
                self.connection.login,
                self.connection.password or None,
                timeout=ANSWER_SECONDS,
                auth_timeout=ANSWER_SECONDS,
                look_for_keys="key_file" not in self.connection.extra,
                allow_agent=False,
                **self._key(),
            )
        except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
            client.close()
            raise self._explained(error) from None
        return client

    @property
    def _key_fix(self) -> str:
        scan = f"ssh-keyscan -p {self.port} {self.connection.host}"
        return f"put the server's key into the extra host_key of {self.name} (`{scan}` shows it; compare it there)"

    def _trust(self, client: paramiko.SSHClient) -> None:
        from paramiko import PKey

        words = str(self.connection.extra.get("host_key") or "").split()
        if not words:
            return
        try:
            kind, data = words[:2] if len(words) > 1 else ("ssh-rsa", words[0])  # the provider's default
            key = PKey.from_type_string(kind, base64.b64decode(data))
        except Exception:  # noqa: BLE001 (paramiko has no one error for what is not a key)
            raise Failure("the extra host_key is not a public key", self._key_fix) from None
        host = self.connection.host if self.port == 22 else f"[{self.connection.host}]:{self.port}"
        client.get_host_keys().add(host, key.get_name(), key)

    def _key(self) -> dict[str, Any]:
        import paramiko

        extra = self.connection.extra
        text = extra.get("private_key")
        if not text:
            return {"key_filename": extra["key_file"]} if extra.get("key_file") else {}
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return {"pkey": kind.from_private_key(io.StringIO(text), extra.get("private_key_passphrase"))}
            except (paramiko.SSHException, ValueError):
                continue
        raise Failure("the extra private_key is not a private key", f"correct it (or its passphrase) in {self.name}")

    def _explained(self, error: Exception) -> Failure:
        import paramiko

        if isinstance(error, paramiko.BadHostKeyException):
            shown = error.key.get_fingerprint().hex() if False else _fingerprint(error.key)
            message = f"{self.address} shows a different host key ({shown}): another server, or a new key"
            return Failure(message, self._key_fix)
        if "not found in known_hosts" in str(error):
            return Failure(f"the host key of {self.address} is not known", self._key_fix)
        if isinstance(error, paramiko.AuthenticationException):
            return Failure(
                f"{self.address} refuses the login",
                f"add the key (key_file or private_key) to {self.name}, and its public half to authorized_keys there",
            )
        if isinstance(error, FileNotFoundError):
            return Failure(f"there is no key file {error.filename}", f"correct key_file of {self.name}")
        why = str(error) or type(error).__name__
        return Failure(f"{self.address}: {why}", f"start sshd there, or correct {self.name}")


def _fingerprint(key: paramiko.PKey) -> str:
    fingerprint: str = key.fingerprint
    return fingerprint
