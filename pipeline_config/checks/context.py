"""The input of a check: one pipeline among the others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from pipeline_config.connection_types import CONNECTION_TYPES, TAKES
from pipeline_config.flows import TaskFlow, flows, variables_of_options
from pipeline_config.model import Command, Operator, Pipeline, Place, Task
from pipeline_config.project import Project
from pipeline_config.reader import Document

_PORT = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
_BROKER = rf"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):{_PORT}"
# The form of a variable's value, by its type in the catalog; `${…}` is first replaced by its default.
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
HOSTS = {name: (re.compile(one.host), one.host_hint) for name, one in CONNECTION_TYPES.items() if one.host}


def name_of(document: Document) -> str:
    """The dag_id of a pipeline's file; of a broken one that has none, the file's name."""
    dag_id = document.data.get("dag_id") if isinstance(document.data, dict) else None
    return dag_id if isinstance(dag_id, str) else PurePosixPath(document.file).stem


@dataclass(frozen=True)
class Index:
    """What is where in a project, looked up once.

    `files` has the pipelines' files by dag_id, broken ones too, `pipelines` those that are right; `triggers` the DAGs
    that each one triggers, `outlets` the assets that tasks update; `variables` the one that tasks pass to an
    option, the first of several.
    """

    files: dict[str, list[Document]] = field(default_factory=dict)
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    triggers: dict[str, list[str]] = field(default_factory=dict)
    outlets: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project) -> Index:
        """The index of a project."""
        index = cls()
        for document in project.pipeline_files:
            index.files.setdefault(name_of(document), []).append(document)
        for pipeline in project.pipelines:
            index.pipelines.setdefault(pipeline.dag_id, pipeline)
            index.outlets.update(uri for task in pipeline.tasks for uri in task.outlets or ())
            for _, option, variable in variables_of_options(pipeline):
                index.variables[option] = min(variable, index.variables.get(option, variable))
            targets = index.triggers.setdefault(pipeline.dag_id, [])
            targets += [task.trigger_dag_id for task in pipeline.tasks if task.trigger_dag_id is not None]
        return index


@dataclass(frozen=True)
class Context:
    """One pipeline among the others. `broken_commands` have errors themselves.

    `seen` are the DAGs that may have changed since this pipeline had no problem; None: it is checked as a new one.
    """

    project: Project
    pipeline: Pipeline
    index: Index
    broken_commands: frozenset[str] = frozenset()
    seen: frozenset[str] | None = None

    @cached_property
    def flows(self) -> list[TaskFlow]:
        """What the pipeline's tasks read and write."""
        return flows(self.project, self.pipeline)

    @cached_property
    def templates(self) -> list[tuple[Place, str, bool]]:
        """Every text that Airflow renders for its tasks: the place, and whether it is in the pipeline's own file."""
        found = []
        for task in self.pipeline.tasks:
            for key in ("arguments", "advanced", "for_each", "conf", "trigger_dag_id"):
                found += [(place, text, True) for place, text in texts(getattr(task, key), task.at(key))]
            command, operator = self.command(task), self.operator(task)
            brought = [operator and operator.arguments, command and command.shell, command and command.argv]
            found += [(task.place, text, False) for _, text in texts(brought, task.place)]
        return found

    @cached_property
    def examples(self) -> dict[tuple[str, Callable[..., Any]], Any]:
        """The result of each template so far, or its RenderError; see `commands.example`."""
        return {}

    def operator(self, task: Task) -> Operator | None:
        """The entry of defaults.yaml for a task's operator; nothing if it names a class, or an unknown one."""
        return self.project.defaults.operators.get(task.operator)

    def command(self, task: Task) -> Command | None:
        """The command template of a task; nothing if it names none, an unknown one, or one not for its operator."""
        command = self.project.defaults.commands.get(task.command or "")
        return command if command and command.kind == self.kind_of_command(task, command) else None

    def kind_of_command(self, task: Task, command: Command) -> str:
        """The kind of command that a task's operator takes: `shell` or `argv`; if it takes both, that of `command`."""
        return TAKES.get(self.connection_type(task) or "", command.kind)

    def connection_type(self, task: Task) -> str | None:
        """The type of connection that a task's operator takes."""
        operator = self.operator(task)
        return operator.connection_type if operator else None


def invisible(text: str) -> Iterator[tuple[int, str]]:
    """The place and the name of the first character that nobody sees; line ends are meant."""
    for offset, letter in enumerate(text):
        if not letter.isprintable() and letter != "\n":
            yield offset, f"{unicodedata.name(letter, 'control character').lower()} (U+{ord(letter):04X})"
            return


def texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Every text inside `value`, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(item, place.at(key))
