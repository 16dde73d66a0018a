"""Values of variables and connections, secrets included, from Airflow's own sources."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline_config import airflow_import
from pipeline_config.errors import CommandError
from pipeline_config.model import Environment
from pipeline_config.preflight.probe import Failure
from pipeline_config.project import Project

AIRFLOW_SECONDS = 120  # of a machine that is busy with something else; its commands take some 5 s each
SECRET_EXTRAS = ("private_key", "private_key_passphrase", "aws_secret_access_key")


class SettingsError(CommandError):
    """The settings cannot be read; the message says what to do and holds no secret."""


@dataclass(frozen=True)
class Connection:
    """An Airflow connection: the fields of its import file, None or empty if missing."""

    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = ""
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> list[str]:
        """What must not be printed."""
        extras = (str(self.extra.get(name) or "") for name in SECRET_EXTRAS)
        return [secret for secret in (self.password, *extras) if secret]


@dataclass(frozen=True)
class Settings:
    """Variables and connections by name, and `source`, which is where somebody can add one.

    `pools` are the names of Airflow's pools; None when Airflow was not asked.
    """

    variables: Mapping[str, str]
    connections: Mapping[str, Connection]
    source: str
    pools: frozenset[str] | None = None

    def variable(self, name: str) -> str:
        """The value of a variable; Failure if there is none."""
        value = self.variables.get(name, "").strip()
        if not value:
            raise Failure(f"no value in {self.source}", f"set it there, or as AIRFLOW_VAR_{name}")
        return value

    def connection(self, name: str) -> Connection:
        """The connection; Failure if there is none."""
        if name not in self.connections:
            raise Failure(f"no such connection in {self.source}", f"add it there, or as {variable_of(name)}")
        return self.connections[name]

    def masked(self, text: str) -> str:
        """`text` without secrets: a safety net, since probes name none."""
        for connection in self.connections.values():
            for secret in connection.secrets:
                text = text.replace(secret, "***")
        return text


def variable_of(connection: str) -> str:
    """The environment variable in which Airflow looks for a connection first."""
    return f"AIRFLOW_CONN_{connection.upper()}"


def from_environment(project: Project, environment: Environment) -> Settings:
    """What pipelines/environments/<name>.yaml has; AIRFLOW_VAR_… and AIRFLOW_CONN_… go before it, as in Airflow."""
    connections = airflow_import.connections(project, environment)
    source = f"pipelines/environments/{environment.name}.yaml"
    return _settings(project, airflow_import.variables(environment), connections, source)


def from_airflow(project: Project) -> Settings:
    """What the Airflow of this machine and user has (AIRFLOW_HOME); AIRFLOW_VAR_… and AIRFLOW_CONN_… go before it.

    Asked by Airflow's own commands through a pipe: no secret is written anywhere. SettingsError when they fail.
    """
    commands = ("variables export -", "connections export -", "pools list --output json")
    with ThreadPoolExecutor() as executor:
        variables, connections, pools = executor.map(_airflow, commands)
    texts = {name: _text(value) for name, value in variables.items()}
    return replace(_settings(project, texts, connections, "Airflow"), pools=frozenset(pool["pool"] for pool in pools))


def connection_of(text: str) -> Connection:
    """A connection in the form of AIRFLOW_CONN_…, JSON or URI; ValueError if it is neither."""
    if text.lstrip().startswith("{"):
        return _connection(json.loads(text))
    _, scheme_end, rest = text.partition("://")
    if not scheme_end:
        raise ValueError("not a URI")
    protocol, inner, address = rest.rpartition("://")  # docker://tcp://host:2375 has two
    parts = urlsplit(f"//{address}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    host = unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
    return Connection(
        host=f"{protocol}{inner}{host}",
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.removeprefix("/")),
        extra=extra,
    )


def _settings(
    project: Project, variables: Mapping[str, str], connections: Mapping[str, Mapping[str, Any]], source: str
) -> Settings:
    named = {name: os.environ.get(f"AIRFLOW_VAR_{name}") for name in project.catalog.variables}
    found = {name: _connection(fields) for name, fields in connections.items()}
    for name in project.catalog.connections:
        text = os.environ.get(variable_of(name))
        if text:
            found[name] = _from_variable(name, text)
    return Settings({**variables, **{name: value for name, value in named.items() if value is not None}}, found, source)


def _from_variable(name: str, text: str) -> Connection:
    try:
        return connection_of(text)
    except (ValueError, TypeError):
        message = f"{variable_of(name)} is neither a connection's URI nor its JSON (keys: host, login, password, …)"
        raise SettingsError(message) from None  # the value is a secret


def _connection(fields: Mapping[str, Any]) -> Connection:
    extra = fields.get("extra") or {}
    port = fields.get("port")
    texts = {name: str(fields.get(name) or "") for name in ("host", "login", "password", "schema")}
    return Connection(
        **texts, port=int(port) if port else None, extra=json.loads(extra) if isinstance(extra, str) else extra
    )


def _text(value: Any) -> str:
    """A variable of Airflow's export, which holds a mapping for one that has a description."""
    if isinstance(value, dict) and "description" in value:
        value = value.get("value")
    return value if isinstance(value, str) else json.dumps(value)


def printed_json(text: str) -> Any:
    """The JSON in a command's output; Airflow may log before it, even on stdout. ValueError without any."""
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    return json.loads(text[start.start() :] if start else text)


def _airflow(command: str) -> Any:
    """The JSON that a command of Airflow prints."""
    hint = "run it as Airflow's user with its AIRFLOW_HOME (for the embedded stack: make preflight)"
    words = [sys.executable, "-m", "airflow", *command.split()]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=AIRFLOW_SECONDS, check=False)
        return printed_json(done.stdout)
    except subprocess.TimeoutExpired:
        raise SettingsError(f"`airflow {command}` takes more than {AIRFLOW_SECONDS} s; {hint}") from None
    except ValueError:
        said = [line for line in done.stderr.splitlines() if "Error" in line] or done.stderr.split("\n")
        raise SettingsError(f"`airflow {command}` failed: {said[-1].strip()}; {hint}") from None
