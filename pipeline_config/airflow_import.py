"""The files that Airflow's own `variables import`, `connections import` and `pools import` read, without secrets."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from pipeline_config.checks.context import texts as texts_in
from pipeline_config.errors import CommandError
from pipeline_config.model import Environment, Values
from pipeline_config.project import Project, expand, unset


def variables(environment: Environment) -> dict[str, str]:
    """Every variable of an environment, `${…}` filled in; raises CommandError if one has no value here."""
    return _filled(environment, environment.variables)


def connections(project: Project, environment: Environment) -> dict[str, dict[str, Any]]:
    """Every connection's address by id: conn_type, host, port, login, schema, extra; never a password.

    Raises CommandError when a `${…}` of one has no value here.
    """
    addresses = {name: address.given() for name, address in environment.connections.items()}
    result: dict[str, dict[str, Any]] = {}
    for name, fields in _filled(environment, addresses).items():
        if "port" in fields:
            fields["port"] = int(fields["port"])
        entry = project.catalog.connections[name]
        result[name] = {"conn_type": entry.type, "description": entry.description, **fields}
    return result


def pools(project: Project) -> dict[str, dict[str, Any]]:
    """Every pool of the catalog by name: slots, description, include_deferred."""
    # A task that waits in the triggerer has not ended: it keeps its slot.
    return {name: {**pool.given(), "include_deferred": True} for name, pool in project.catalog.pools.items()}


def write(project: Project, environment: Environment, folder: Path) -> list[Path]:
    """Write variables.json, connections.json and pools.json into `folder`, which is created if needed.

    CommandError also when somebody else may write there: what Airflow imports then would be theirs; and when one of the
    files is there and says something else: Airflow's own export has these names.
    """
    contents = {
        folder / "variables.json": variables(environment),
        folder / "connections.json": connections(project, environment),
        folder / "pools.json": pools(project),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
            raise CommandError(f"{folder}: others can write to this folder; choose one that only you can write to")
        texts = {path: json.dumps(content, indent=2, sort_keys=True) + "\n" for path, content in contents.items()}
        for path, text in texts.items():
            if path.exists() and path.read_bytes() != text.encode():
                raise CommandError(f"{path}: already exists with other contents; remove it first")
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return list(contents)


def _filled(environment: Environment, values: Values) -> dict[str, Any]:
    if missing := sorted(name for _, text in texts_in(values, environment.place) for name in unset(text)):
        names = ", ".join(dict.fromkeys(missing))
        raise CommandError(f"{names}: {environment.name}.yaml reads it and has no default; set it and export it")
    filled: dict[str, Any] = expand(values)
    return filled
