"""The files that Airflow's own `variables import`, `connections import` and `pools import` read, without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline_config.project import Environment, Project, expand


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
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        folder / "variables.json": variables(environment),
        folder / "connections.json": connections(project, environment),
        folder / "pools.json": pools(project),
    }
    for path, content in contents.items():
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return list(contents)
