"""What this package knows about each type of connection. A new type is an entry here and in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_NAME = r"[\w.-]+|[0-9a-fA-F]*:[0-9a-fA-F:.]+"
_NAME_HINT = "a host name or an IP address, the port by itself"


# Extras of a Docker connection: paths of PEM files on the Airflow host, named as DockerOperator's own arguments.
TLS_EXTRAS = ("tls_ca_cert", "tls_client_cert", "tls_client_key")
PLAINTEXT = "plaintext"  # the extra that says that TCP without TLS is intended


@dataclass(frozen=True)
class ConnectionType:
    """`host` is the form that an address needs, "" for any.

    `takes` is what an operator of such a connection runs; it needs a timeout, for what hangs there hangs here. A
    connection without it is for jobs: `environment` are the variables by which it reaches one over SSH, `extra` those
    of its extra, each with the field that it is of. `own_extra` are the fields of its extra that an operator reads. A
    job needs one for data of the kind that it `holds`.
    `preflight` is the module that asks whether it answers.
    """

    host: str = ""
    host_hint: str = ""
    takes: Literal["shell", "argv", ""] = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    own_extra: tuple[str, ...] = ()
    holds: str = ""
    preflight: str = ""

    @property
    def extras(self) -> list[str]:
        """The fields of its extra that something reads; empty if that is not known."""
        return [*self.own_extra, *self.extra.values()]

    def variables(self, connection: object, extra: Mapping[str, Any]) -> dict[str, str]:
        """The variables by which a job gets a connection of this type; missing fields are left out."""
        values = {name: getattr(connection, key) for name, key in self.environment.items()}
        values |= {name: extra.get(key) for name, key in self.extra.items()}
        return {name: str(value) for name, value in values.items() if value not in (None, "")}


CONNECTION_TYPES = {
    "docker": ConnectionType(
        host=rf"(?:tcp|https?|ssh)://\S+|unix:///\S+|{_NAME}",
        host_hint="tcp://host:2375, unix:///path or a host",
        takes="argv",
        own_extra=(*TLS_EXTRAS, PLAINTEXT),
        preflight="pipeline_config.preflight.engine",
    ),
    "ssh": ConnectionType(
        host=_NAME, host_hint=_NAME_HINT, takes="shell", preflight="pipeline_config.preflight.ssh_server"
    ),
    # Variables of the AWS SDK and of libpq; paths are on the SSH server.
    "aws": ConnectionType(
        environment={"AWS_ACCESS_KEY_ID": "login", "AWS_SECRET_ACCESS_KEY": "password"},
        extra={"AWS_REGION": "region_name"},
        holds="lake",
    ),
    "postgres": ConnectionType(
        host=_NAME,
        host_hint=_NAME_HINT,
        environment={
            "PGHOST": "host",
            "PGPORT": "port",
            "PGDATABASE": "schema",
            "PGUSER": "login",
            "PGPASSWORD": "password",
        },
        extra={"PGSSLMODE": "sslmode", "PGSSLROOTCERT": "sslrootcert"},
        holds="postgresql",
        preflight="pipeline_config.preflight.database",
    ),
}
ACCEPTED = "PG* AWS_*"  # all variables of `environment` and `extra`, in sshd's syntax
# What an operator of a connection runs, and the connections that travel with a job.
TAKES = {name: one.takes for name, one in CONNECTION_TYPES.items() if one.takes}
FOR_JOBS = tuple(name for name, one in CONNECTION_TYPES.items() if one.environment)


def is_remote_shell(kind: str | None) -> bool:
    """Whether jobs run there by a shell, and the connections for jobs travel with them."""
    return TAKES.get(kind or "") == "shell"
