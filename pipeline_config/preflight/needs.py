"""What the pipelines use in one environment, and the probes that this makes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jobs.event import TOPIC
from pipeline_config.compiler import operator_of
from pipeline_config.model import Command, Environment, Pipeline, Task
from pipeline_config.preflight import database, engine, kafka_cluster
from pipeline_config.preflight.probe import Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.spark_server import Needs, SparkServer
from pipeline_config.project import Project
from pipeline_config.templates import reads


@dataclass
class Used:
    """Names of variables and connections by what they are used for, in the order of the files."""

    variables: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    topics: dict[str, list[str]] = field(default_factory=dict)  # by the variable of the brokers
    security: dict[str, str] = field(default_factory=dict)  # the variable of client.properties, likewise
    declared: dict[str, dict[str, str]] = field(default_factory=dict)  # what producers are told of topics, likewise
    spark: dict[str, Needs] = field(default_factory=dict)  # by the connection of the server
    containers: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # by connection and image: folders
    local_folders: list[str] = field(default_factory=list)


class Reader:
    """Goes through the pipelines of a project and collects what their tasks use in an environment."""

    def __init__(self, project: Project, environment: Environment) -> None:
        self.project = project
        self.environment = environment
        self.used = Used()

    def read(self) -> Used:
        """What the tasks of all pipelines use."""
        for pipeline in self.project.pipelines:
            _add(self.used.variables, *pipeline.variables)
            _add(self.used.connections, *pipeline.connections)
            for task in pipeline.tasks:
                _add(self.used.pools, *([task.pool] if task.pool else []))
                if task.command:
                    self._read_job(pipeline, task, self.project.defaults.commands[task.command])
        return self.used

    def _read_job(self, pipeline: Pipeline, task: Task, command: Command) -> None:
        arguments = task.arguments
        variables = sorted(set().union(*(reads(str(value)).variables for value in arguments.values())))
        topic = str(arguments.get("topic", TOPIC))
        for brokers in self._of_type("brokers", variables):
            topics = self.used.topics.setdefault(brokers, [])
            if "{{" not in topic:
                _add(topics, topic)
            self.used.security.update((brokers, name) for name in self._of_type("kafka_security", variables))
            given = {name: str(arguments[name]) for name in kafka_cluster.DECLARED if name in arguments}
            known = {name: text for name, text in given.items() if text.isdecimal() or len(reads(text).variables) == 1}
            self.used.declared.setdefault(brokers, {}).update(known)
        paths = self._of_type("path", variables)
        operator = operator_of(self.project, task.operator, self.environment)
        if operator.connection_type == "ssh":
            needs = self.used.spark.setdefault(task.connection or "", Needs())
            _add(needs.projects, *self._of_type("path", sorted(reads(command.shell or "").variables)))
            _add(needs.paths, *paths)
            catalog = self.project.catalog
            for kind, names in (("postgres", needs.postgres), ("aws", needs.aws)):
                _add(names, *(name for name in pipeline.connections if name in catalog.connections_of(kind)))
        elif "image" in operator.arguments:
            images = self.used.containers.setdefault(task.connection or "", {})
            _add(images.setdefault(str(operator.arguments["image"]), []), *paths)
        else:
            _add(self.used.local_folders, *paths)

    def _of_type(self, kind: str, variables: list[str]) -> list[str]:
        return [name for name in variables if self.project.catalog.variables[name].type == kind]


def probes(project: Project, environment: Environment, settings: Settings) -> list[Probe]:
    """One for each variable and connection that a pipeline declares, and for what is behind them."""
    used = Reader(project, environment).read()
    found = [*_servers(project.root, used, settings), *_job_connections(project, used, settings)]
    behind = {probe.what for probe in found}
    others = [name for name in used.variables if name not in behind]
    plain = [Probe(name, partial(_value, settings, name), "") for name in others]
    known = settings.pools
    pools = [] if known is None else [Probe(f"pool {name}", partial(_pool, known, name), "") for name in used.pools]
    return [*plain, *pools, *found]


def _servers(root: Path, used: Used, settings: Settings) -> Iterator[Probe]:
    for variable, topics in used.topics.items():
        security, declared = used.security.get(variable), used.declared.get(variable)
        yield from kafka_cluster.probes(settings, variable, topics, security, declared)
    for connection, images in used.containers.items():
        yield from engine.probes(settings, connection, images)
    for variable in used.local_folders:
        yield Probe(variable, partial(_readable, settings, variable), "")
    for connection, needs in used.spark.items():
        yield from SparkServer(root, settings, connection, needs).probes()


def _job_connections(project: Project, used: Used, settings: Settings) -> Iterator[Probe]:
    for name in used.connections:
        kind = project.catalog.connections[name].type
        if kind == "postgres":
            yield from database.probes(settings, name)


def _value(settings: Settings, variable: str) -> str:
    """Of a variable that names nothing that could be asked."""
    return f"set to {settings.variable(variable)}"


def _pool(pools: Collection[str], name: str) -> str:
    if name not in pools:
        fix = "airflow pools import pools.json, which import-airflow writes"
        raise Failure("Airflow has no such pool, and a task in it waits for ever", fix)
    return "in Airflow"


def _readable(settings: Settings, variable: str) -> str:
    """A folder that a task of this machine reads, as where there is no Docker engine."""
    folder = settings.variable(variable)
    try:
        return f"{folder}, {len(os.listdir(folder))} files"  # noqa: PTH208 (a list says at once what a Path says late)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}", f"make it on this machine, or correct {variable}") from None


def _add(names: list[str], *more: str) -> None:
    names.extend(name for name in more if name not in names)
