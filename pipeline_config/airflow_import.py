"""The files that Airflow's own `variables import`, `connections import` and `pools import` read, without secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline_config.checks.context import texts
from pipeline_config.errors import CommandError
from pipeline_config.project import PLACEHOLDER, Environment, Project, expand


def variables(environment: Environment) -> dict[str, str]:
    """Every variable of an environment, `${…}` filled in."""
    values: dict[str, str] = expand(environment.data.get("variables", {}))
    return values


def connections(project: Project, environment: Environment) -> dict[str, dict[str, Any]]:
    """Every connection's address by id: conn_type, host, port, login, schema, extra; never a password."""
    catalog = project.catalog.data["connections"]
    result: dict[str, dict[str, Any]] = {}
    for name, address in environment.data.get("connections", {}).items():
        fields = expand(address)
        if "port" in fields:
            fields["port"] = int(fields["port"])
        result[name] = {"conn_type": catalog[name]["type"], "description": catalog[name]["description"], **fields}
    return result


def pools(project: Project) -> dict[str, dict[str, Any]]:
    """Every pool of the catalog by name: slots, description, include_deferred."""
    catalog: dict[str, Any] = project.catalog.data.get("pools", {})
    # A task that waits in the triggerer has not ended: it keeps its slot.
    return {name: {**pool, "include_deferred": True} for name, pool in catalog.items()}


def write(project: Project, environment: Environment, folder: Path) -> list[Path]:
    """Write variables.json, connections.json and pools.json into `folder`, which is made if need be."""
    if unset := sorted(_unset(environment.data)):
        raise CommandError(
            f"{', '.join(unset)}: {environment.name}.yaml reads it and has no default; set it and export it"
        )
    contents = {
        folder / "variables.json": variables(environment),
        folder / "connections.json": connections(project, environment),
        folder / "pools.json": pools(project),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return list(contents)


def _unset(value: Any) -> set[str]:
    """The ${NAME} in the texts of `value` that have neither a value here nor a default."""
    found = (PLACEHOLDER.finditer(text) for _, text in texts(value, ()))
    return {match[1] for matches in found for match in matches if match[2] is None and match[1] not in os.environ}
