"""What a check is given: one pipeline among the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from pipeline_config.flows import TaskFlow, flows
from pipeline_config.problem import Problem
from pipeline_config.project import Project
from pipeline_config.reader import Document, KeyPath

_PORT = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
_BROKER = rf"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):{_PORT}"
# What the value of a variable looks like, by its type in the catalog; `${…}` is filled in by its default first.
FORMS = {
    "brokers": (re.compile(rf"{_BROKER}(,{_BROKER})*"), "host:port,host:port without blanks; IPv6 as [::1]:9092"),
    "kafka_security": (re.compile(r"(/[^\s:{}]*)?"), "an absolute path, or empty for plaintext"),
    "memory": (re.compile(r"[1-9]\d*[mg]"), "a whole number and m or g, such as 512m"),
    "number": (re.compile(r"[1-9]\d*"), "a whole number above 0"),
    "path": (re.compile(r"(?:/|s3a://[^/\s]|\.)\S*(?: \S+)*"), "an absolute path or s3a://bucket/…"),
    "spark_master": (
        re.compile(rf"local\[([1-9]\d*|\*)\]|spark://[^\s:,/]+:{_PORT}(,[^\s:,/]+:{_PORT})*|yarn|k8s://\S+"),
        "local[cores], spark://host:port, yarn or k8s://…",
    ),
    "text": (re.compile(r".*", re.DOTALL), ""),
}
# The host of a connection, by its type in the catalog; others may have any.
_HOST = r"[\w.-]+|[0-9a-fA-F]*:[0-9a-fA-F:.]+"
HOSTS = {
    "docker": (re.compile(rf"(?:tcp|https?|ssh)://\S+|unix:///\S+|{_HOST}"), "tcp://host:2375, unix:///path or a host"),
    "ssh": (re.compile(_HOST), "a host name or an IP address, the port by itself"),
    "postgres": (re.compile(_HOST), "a host name or an IP address, the port by itself"),
}


@dataclass(frozen=True)
class Index:
    """What stands where in a project, looked up once.

    `by_dag_id` has the pipelines, `triggers` the DAGs that each one triggers, `outlets` the assets that tasks update.
    """

    by_dag_id: dict[str, list[Document]] = field(default_factory=dict)
    triggers: dict[str, list[str]] = field(default_factory=dict)
    outlets: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, project: Project) -> Index:
        """The index of a project; a broken pipeline is in it by its dag_id, or by its file's name."""
        index = cls()
        for document in project.pipelines:
            dag_id = document.data.get("dag_id") if isinstance(document.data, dict) else None
            name = dag_id if isinstance(dag_id, str) else PurePosixPath(document.file).stem
            index.by_dag_id.setdefault(name, []).append(document)
            if document.data and not document.problems:
                tasks = document.data["tasks"]
                index.outlets.update(uri for task in tasks for uri in task.get("outlets", []))
                targets = index.triggers.setdefault(document.data["dag_id"], [])
                targets += [task["trigger_dag_id"] for task in tasks if "trigger_dag_id" in task]
        return index


@dataclass(frozen=True)
class Context:
    """One pipeline among the others; its document has passed the schema. `broken_commands` have errors themselves."""

    project: Project
    document: Document
    index: Index
    broken_commands: frozenset[str] = frozenset()

    @property
    def data(self) -> dict[str, Any]:
        """The pipeline as its file has it."""
        data: dict[str, Any] = self.document.data
        return data

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Its tasks."""
        tasks: list[dict[str, Any]] = self.data["tasks"]
        return tasks

    @property
    def operators(self) -> dict[str, Any]:
        """The operators of defaults.yaml by name."""
        operators: dict[str, Any] = self.project.defaults.data["operators"]
        return operators

    @property
    def commands(self) -> dict[str, Any]:
        """The command templates of defaults.yaml by name."""
        commands: dict[str, Any] = self.project.defaults.data["commands"]
        return commands

    @cached_property
    def flows(self) -> list[TaskFlow]:
        """What its tasks read and write."""
        return flows(self.project, self.data)

    @cached_property
    def examples(self) -> dict[tuple[str, Callable[..., Any]], Any]:
        """What each template that was asked for becomes, or the RenderError why not; see `commands.example`."""
        return {}

    def catalog(self, kind: str) -> dict[str, Any]:
        """The `variables`, `connections` or `pools` of catalog.yaml by name."""
        entries: dict[str, Any] = self.project.catalog.data.get(kind, {})
        return entries

    def operator(self, task: dict[str, Any]) -> dict[str, Any]:
        """What defaults.yaml says of a task's operator; nothing when it names a class."""
        operator: dict[str, Any] = self.operators.get(task["operator"], {})
        return operator

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A problem in the pipeline's file, at the value of `path`."""
        return self.document.problem(path, message, hint, at_value=True)

    def warning(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A warning there."""
        return self.document.problem(path, message, hint, at_value=True, severity="warning")


def texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every text inside `value`, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))
