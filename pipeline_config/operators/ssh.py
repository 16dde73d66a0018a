"""Runs a job over SSH."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.ssh.operators.ssh import SSHOperator as AirflowSSHOperator
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException
from paramiko import BadHostKeyException, SSHClient, SSHException

from pipeline_config.connection_types import CONNECTION_TYPES
from pipeline_config.operators.lineage import DeclaringData
from pipeline_config.operators.shared import RenderingNamesVariables, fail_without_retries, missing_connections_fail

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context
    from paramiko import ChannelFile

    Streams = tuple[ChannelFile, ChannelFile, ChannelFile]

LONGEST_COMMAND = 131_071  # Linux: 128 KiB an argument, its end included


class SSHOperator(RenderingNamesVariables, DeclaringData, AirflowSSHOperator):
    """Runs a job over SSH; `job_connections` reach it as PG… and AWS_… variables of the SSH channel.

    The server must accept them (`AcceptEnv PG* AWS_*`).
    """

    template_ext: Sequence[str] = ()  # a command that ends in .sh is still a command, not a file to read

    def __init__(self, *, job_connections: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_connections = job_connections

    @missing_connections_fail()
    def execute(self, context: Context | None = None) -> bytes | str:
        """Run the command; fails unless the exit code is 0."""
        _refuse_what_cannot_travel(self.command or "")
        environment = dict(self.environment or {})
        for name in self.job_connections:
            environment |= connection_environment(BaseHook.get_connection(name))
        self.environment = environment
        result: bytes | str = super().execute(context)
        return result

    def run_ssh_client_command(self, ssh_client: SSHClient, command: str, context: Context | None = None) -> bytes:
        """Run it; what it says before Airflow listens is logged, too."""
        ssh_client.exec_command = self._logging_its_beginning(ssh_client.exec_command)
        result: bytes = super().run_ssh_client_command(ssh_client, command, context)
        return result

    def _logging_its_beginning(self, execute: Callable[..., Streams]) -> Callable[..., Streams]:
        """Airflow's hook takes what has arrived before it asks whether anything has, and logs only what comes then."""

        def logging_its_beginning(**arguments: Any) -> Streams:
            streams = execute(**arguments)
            channel = streams[1].channel
            receive, is_ready = channel.recv, channel.recv_ready

            def beginning(size: int) -> bytes:
                text: bytes = receive(size)
                for line in text.decode("utf-8", "replace").strip("\n").splitlines():
                    self.log.info(line)
                return text

            def is_ready_from_now_on() -> bool:
                channel.recv, channel.recv_ready = receive, is_ready
                return bool(is_ready())

            channel.recv, channel.recv_ready = beginning, is_ready_from_now_on
            return streams

        return logging_its_beginning

    def raise_for_status(self, exit_status: int, stderr: bytes, context: Context | None = None) -> None:
        """Fail for anything but 0, without retries if they would not help."""
        fail_without_retries(exit_status)
        super().raise_for_status(exit_status, stderr, context)

    def get_ssh_client(self) -> SSHClient:
        """Log in; AirflowFailException unless the server shows the host key that the connection or known_hosts has."""
        port = self.hook.port
        fix = (
            f"put the server's key into the extra host_key of connection {self.ssh_conn_id} "
            f"(`ssh-keyscan -p {port} {self.hook.remote_host}` shows it; compare it on the server)"
        )
        where = f"error: SSH to {self.hook.remote_host}:{port}"
        if self.hook.no_host_key_check or self.hook.allow_host_key_change:
            raise AirflowFailException(
                f"{where}: its host key would not be checked; {fix}, and set no_host_key_check false"
            )
        try:
            return super().get_ssh_client()
        except BadHostKeyException as error:
            shown = f"the server shows a different host key ({error.key.fingerprint}) than ours"
            raise AirflowFailException(
                f"{where}: {shown}; if it was reinstalled, {fix}; if not, find out who answers"
            ) from None
        except SSHException as error:
            if "not found in known_hosts" not in str(error):
                raise
            raise AirflowFailException(f"{where}: its host key is not known; {fix}") from None


def _refuse_what_cannot_travel(command: str) -> None:
    """The server's shell gets its command as one argument: of limited length, and without NUL."""
    if "\0" in command:
        raise AirflowFailException("error: a value contains a NUL character, which no command can; check the params")
    if len(command.encode()) > LONGEST_COMMAND:
        raise AirflowFailException(f"error: the command is longer than {LONGEST_COMMAND} bytes; check the params")


def connection_environment(connection: Connection) -> dict[str, str]:
    """A connection as environment variables; missing fields are left out."""
    return CONNECTION_TYPES[connection.conn_type or ""].variables(connection, connection.extra_dejson)
