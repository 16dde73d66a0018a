"""The project as files: catalog, defaults, environments and one document a pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_config.errors import CommandError, UnknownEnvironmentError
from pipeline_config.problem import Problem
from pipeline_config.reader import Document, read
from pipeline_config.schema import check_schema, did_you_mean

ROOT = Path(__file__).parent.parent
SHARED_FILES = {"catalog.yaml", "defaults.yaml"}
PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Environment:
    """One environment with what it extends merged in: the keys of schemas/environment.schema.json."""

    name: str
    data: dict[str, Any]

    def operator_change(self, operator: str) -> dict[str, Any]:
        """What this environment changes of an operator: `class`, `arguments`, or nothing."""
        change: dict[str, Any] = self.data.get("operators", {}).get(operator, {})
        return change


@dataclass(frozen=True)
class Project:
    """Every YAML file below pipelines/, read and held against its schema."""

    root: Path
    catalog: Document
    defaults: Document
    environments: dict[str, Document]
    pipelines: list[Document]

    @property
    def shared(self) -> list[Document]:
        """The documents that every pipeline needs."""
        return [self.catalog, self.defaults, *self.environments.values()]

    @property
    def problems(self) -> list[Problem]:
        """What reading and the schemas found, in all files."""
        return [problem for document in [*self.shared, *self.pipelines] for problem in document.problems]

    def pipeline(self, dag_id: str) -> dict[str, Any]:
        """The pipeline of that DAG in a checked project; raises CommandError."""
        known: dict[str, dict[str, Any]] = {document.data["dag_id"]: document.data for document in self.pipelines}
        if dag_id not in known:
            raise CommandError(f"no DAG is called {dag_id!r}; {did_you_mean(dag_id, sorted(known))}")
        return known[dag_id]

    def environment(self, name: str) -> Environment:
        """The environment of that name; raises UnknownEnvironmentError."""
        if name not in self.environments:
            known = ", ".join(sorted(self.environments)) or "none"
            raise UnknownEnvironmentError(f"no pipelines/environments/{name}.yaml; there is: {known}")
        data: dict[str, Any] = dict(self.environments[name].data or {})
        parent = data.pop("extends", None)
        if parent and parent != name:
            data = merge(self.environment(parent).data, data)
        return Environment(name, data)


def load_project(root: Path = ROOT, *, with_schema: bool = True, known: Mapping[str, Any] | None = None) -> Project:
    """Read every file below `root`/pipelines; nothing raises, each document carries its problems.

    `known` is what the files are known to hold, by file: they are not parsed then, and have no positions.
    """

    def document(path: Path, schema: str) -> Document:
        if known is not None:
            file = path.relative_to(root).as_posix()
            return Document(file, path.read_text(encoding="utf-8", errors="replace"), known[file])
        result = read(path, root)
        if with_schema:
            result.problems.extend(check_schema(result, schema))
        return result

    folder = root / "pipelines"
    environments = sorted((folder / "environments").glob("*.yaml"))
    own = {folder / name for name in SHARED_FILES} | set(environments)
    return Project(
        root=root,
        catalog=document(folder / "catalog.yaml", "catalog"),
        defaults=document(folder / "defaults.yaml", "defaults"),
        environments={path.stem: document(path, "environment") for path in environments},
        pipelines=[document(path, "pipeline") for path in sorted(folder.rglob("*.yaml")) if path not in own],
    )


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` over `base`, mappings key by key."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def expand(value: Any) -> Any:
    """`${NAME:-default}` in every text of `value`, from this process's environment."""
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: os.environ.get(match[1], match[2] or ""), value)
    return value
