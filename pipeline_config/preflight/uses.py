"""What the tasks use in one environment, and the resulting probes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from pipeline_config.compiler import operator_of
from pipeline_config.connection_types import CONNECTION_TYPES
from pipeline_config.flows import flows, is_known
from pipeline_config.model import Entry, Environment, Operator
from pipeline_config.preflight.probe import Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.project import Project
from pipeline_config.templates import reads

# The module that probes what a variable of a type names; for a type of connection, see CONNECTION_TYPES.
VARIABLE_TYPES = {"brokers": "pipeline_config.preflight.brokers", "path": "pipeline_config.preflight.local_folder"}


@dataclass(frozen=True)
class Use:
    """What one task uses; variables and connections are names, each with its type in the catalog.

    `options` are the job's as the file gives them, and `variables` those that they read; `command_variables` are read
    by the command template. `connection` is the operator's own; `connections` all that the pipeline declares.
    `topics` are those that the job reads or writes, as far as their names are known before a run.
    """

    operator: Operator
    options: Mapping[str, str]
    variables: Mapping[str, str]
    command_variables: Mapping[str, str]
    connection: str
    connections: Mapping[str, str]
    topics: Sequence[str]


@dataclass(frozen=True)
class Asked:
    """The argument of a probing module's `ask`: the variable or connection `name`, and the tasks that use it.

    `ask` returns a list of Probe: for it, and for all that is reached through it. catalog.yaml may name such a module.
    """

    root: Path
    settings: Settings
    name: str
    uses: list[Use]

    def read(self, kind: str) -> list[str]:
        """The variables of a type that the options of these tasks read, in the order of the files."""
        return _of_type(kind, (use.variables for use in self.uses))

    def commands_read(self, kind: str) -> list[str]:
        """The same of those that their command templates read."""
        return _of_type(kind, (use.command_variables for use in self.uses))

    def declared(self, kind: str) -> list[str]:
        """The connections of a type that go with these tasks' jobs."""
        return _of_type(kind, (use.connections for use in self.uses))


def probes(project: Project, environment: Environment, settings: Settings) -> list[Probe]:
    """One for each variable and connection that a pipeline declares, and for what they lead to."""
    found = list(_by_modules(project, environment, settings))
    probed = {probe.what for probe in found}
    variables = _used(project, "variables")
    plain = [Probe(name, partial(_value, settings, name), "") for name in variables if name not in probed]
    pools = _unique(task.pool for pipeline in project.pipelines for task in pipeline.tasks if task.pool)
    known = settings.pools
    in_airflow = [] if known is None else [Probe(f"pool {one}", partial(_pool, known, one), "") for one in pools]
    return [*plain, *in_airflow, *found]


def _by_modules(project: Project, environment: Environment, settings: Settings) -> Iterator[Probe]:
    """The probes of the modules that catalog.yaml or this package has for the types."""
    uses = list(uses_of(project, environment))
    asking = {name: one.preflight for name, one in CONNECTION_TYPES.items() if one.preflight}
    asking |= {**VARIABLE_TYPES, **project.catalog.probes}
    entries = {"variables": project.catalog.variables, "connections": project.catalog.connections}
    for kind, catalog in entries.items():
        for name in _used(project, kind):
            using = [use for use in uses if name in {*use.variables, *use.connections}]
            if module := asking.get(catalog[name].type):
                yield from import_module(module).ask(Asked(project.root, settings, name, using))


def uses_of(project: Project, environment: Environment) -> Iterator[Use]:
    """What each task with a job uses, in the order of the files."""
    variables, connections = project.catalog.variables, project.catalog.connections
    for pipeline in project.pipelines:
        flow = {one.task.task_id: (*one.reads, *one.writes) for one in flows(project, pipeline)}
        for task in pipeline.tasks:
            if task.command:
                command = project.defaults.commands[task.command]
                options = {name: str(value) for name, value in task.arguments.items()}
                yield Use(
                    operator=operator_of(project, task.operator, environment),
                    options=options,
                    variables=_types(variables, _reads(options.values())),
                    command_variables=_types(variables, _reads([command.shell or ""])),
                    connection=task.connection or "",
                    connections=_types(connections, pipeline.connections),
                    topics=[one.name for one in flow.get(task.task_id, ()) if one.kind == "topic" and is_known(one)],
                )


def _reads(texts: Iterable[str]) -> list[str]:
    return sorted(set().union(*(reads(text).variables for text in texts)))


def _types(catalog: Mapping[str, Entry], names: Iterable[str]) -> dict[str, str]:
    return {name: catalog[name].type for name in names}


def _of_type(kind: str, several: Iterable[Mapping[str, str]]) -> list[str]:
    return _unique(name for types in several for name, its_type in types.items() if its_type == kind)


def _used(project: Project, kind: str) -> list[str]:
    """The variables or connections that pipelines declare."""
    return _unique(name for pipeline in project.pipelines for name in getattr(pipeline, kind))


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _value(settings: Settings, variable: str) -> str:
    """Of a variable that names nothing that could be asked."""
    return f"set to {settings.variable(variable)}"


def _pool(pools: frozenset[str], name: str) -> str:
    if name not in pools:
        fix = "airflow pools import pools.json, which import-airflow writes"
        raise Failure("Airflow has no such pool, and a task in it waits forever", fix)
    return "in Airflow"
