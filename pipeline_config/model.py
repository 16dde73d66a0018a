"""The contents of the files once they have passed their schemas: typed, each thing with its place.

A field is called as its key; what is not in the file is None or empty. Values that are handed on to Airflow, to a class
or to a job are plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from pipeline_config.problem import Problem
from pipeline_config.reader import Document, KeyPath

if TYPE_CHECKING:
    from pipeline_config.schema import Schema

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Values: TypeAlias = Mapping[str, Value]
JOB = "{job}"  # in a command template


@dataclass(frozen=True, eq=False)
class Place:
    """Where something is: the keys that lead to it in a file."""

    document: Document
    path: KeyPath = ()

    def at(self, *path: str | int) -> Place:
        """A place within it."""
        return Place(self.document, (*self.path, *path))

    def problem(self, message: str, hint: str = "", severity: str = "error", *, at_key: bool = False) -> Problem:
        """A problem at the value, or at its key."""
        return self.document.problem(self.path, message, hint, at_value=not at_key, severity=severity)

    def warning(self, message: str, hint: str = "") -> Problem:
        """A warning at the value."""
        return self.problem(message, hint, "warning")

    def within(self, value: str, offset: int, message: str, hint: str = "", severity: str = "error") -> Problem:
        """A problem `offset` characters into the value."""
        return self.document.within(self.path, value, offset, message, hint, severity)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Placed:
    """A part of a file, which knows where it is."""

    place: Place

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """What the reader has there; keys of other dialects are left out."""
        return cls(place=place, **{key: value for key, value in data.items() if key in cls.__dataclass_fields__})

    def at(self, *path: str | int) -> Place:
        """A place within it."""
        return self.place.at(*path)

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that it may have in a file."""
        return [name for name in cls.__dataclass_fields__ if name != "place"]

    def given(self, keys: Iterable[str] | None = None) -> dict[str, Any]:
        """Those of these keys, or of all, that have a value, with it."""
        return {
            key: value for key in (self.keys() if keys is None else keys) if (value := getattr(self, key)) is not None
        }


_P = TypeVar("_P", bound=Placed)


def _members(kind: type[_P], place: Place, data: Mapping[str, Any], key: str) -> dict[str, _P]:
    return {name: kind.of(place.at(key, name), member) for name, member in data.get(key, {}).items()}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Alerts(Placed):
    """The notifiers that are called when a task fails after all retries, is retried, or succeeds."""

    on_failure: Sequence[str] | None = None
    on_retry: Sequence[str] | None = None
    on_success: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DefaultArgs(Alerts):
    """What each task starts from."""

    owner: str | None = None
    retries: int | None = None
    retry_delay_minutes: float | None = None
    retry_exponential_backoff: bool | None = None
    max_retry_delay_minutes: float | None = None
    execution_timeout_minutes: float | None = None
    depends_on_past: bool | None = None
    priority_weight: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DagSettings(Placed):
    """How a DAG runs; all DAGs may share it."""

    timezone: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    catchup: bool | None = None
    max_active_runs: int | None = None
    dagrun_timeout_minutes: float | None = None
    is_paused_upon_creation: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Task(Alerts):
    """A task. Its operator is one of defaults.yaml, or the import path of a class."""

    task_id: str
    operator: str
    group: str | None = None
    connection: str | None = None
    command: str | None = None
    job: str = ""
    arguments: Mapping[str, str | float] = field(default_factory=dict)
    advanced: Values = field(default_factory=dict)
    for_each: Mapping[str, list[Value] | str] = field(default_factory=dict)
    trigger_dag_id: str | None = None
    conf: dict[str, Value] | None = None
    outlets: Sequence[str] | None = None
    pool: str | None = None
    execution_timeout_minutes: float | None = None
    retries: int | None = None
    depends_on_past: bool | None = None
    priority_weight: int | None = None
    trigger_rule: str | None = None
    dependencies: Sequence[str] = ()

    @property
    def is_of_class(self) -> bool:
        """Whether it names its operator's class, not an operator of defaults.yaml."""
        return "." in self.operator


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Group(Placed):
    """A group of tasks, possibly inside another one."""

    description: str = ""
    group: str | None = None
    dependencies: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Deadline(Placed):
    """When a run is late, by time of day or after it was queued, and whom to alert."""

    by: str | None = None
    within_minutes: float | None = None
    notify: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pipeline(DagSettings):
    """A pipeline's file: one DAG."""

    dag_id: str
    description: str
    schedule: Value
    tasks: Sequence[Task]
    deadline: Deadline | None = None
    default_args: DefaultArgs
    tags: Sequence[str] = ()
    variables: Sequence[str] = ()
    connections: Sequence[str] = ()
    params: Mapping[str, Schema] = field(default_factory=dict)
    task_groups: Mapping[str, Group] = field(default_factory=dict)

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """From the data of a valid file, or of a part of it."""
        tasks = [Task.of(place.at("tasks", index), task) for index, task in enumerate(data["tasks"])]
        typed: dict[str, Any] = {
            "tasks": tasks,
            "task_groups": _members(Group, place, data, "task_groups"),
            "default_args": DefaultArgs.of(place.at("default_args"), data.get("default_args", {})),
        }
        if "deadline" in data:
            typed["deadline"] = Deadline.of(place.at("deadline"), data["deadline"])
        return super().of(place, {**data, **typed})

    @property
    def file(self) -> str:
        """The path of its file below the project's root."""
        return self.place.document.file

    @property
    def param_defaults(self) -> dict[str, Value]:
        """The default of each param by name."""
        return {name: schema["default"] for name, schema in self.params.items()}

    def groups_around(self, one: Task | Group) -> list[str]:
        """The groups around a task or a group, innermost first; only known ones, each once."""
        found: list[str] = []
        while (name := one.group) and name in self.task_groups and name not in found:
            found.append(name)
            one = self.task_groups[name]
        return found

    def full_id(self, task: Task) -> str:
        """A task's id in Airflow: with the groups around it."""
        return ".".join([*reversed(self.groups_around(task)), task.task_id])

    @cached_property
    def upstream(self) -> dict[str, list[str]]:
        """The tasks that each task waits for, by its own dependencies and its groups', expanded; also unknown ones."""
        around = [self.groups_around(task) for task in self.tasks]
        members: dict[str, list[str]] = {name: [] for name in self.task_groups}
        for task, names in zip(self.tasks, around, strict=True):
            for name in names:
                members[name].append(task.task_id)
        graph = {}
        for task, names in zip(self.tasks, around, strict=True):
            waits_for = [*task.dependencies, *(one for name in names for one in self.task_groups[name].dependencies)]
            graph[task.task_id] = [member for name in waits_for for member in members.get(name, [name])]
        return graph


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Operator(Placed):
    """An operator or a notifier of defaults.yaml, or what an environment changes of one: "" means the same class."""

    class_path: str = ""
    connection_argument: str | None = None
    connection_type: str | None = None
    arguments: Values = field(default_factory=dict)

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """From the data of a valid file, or of a part of it."""
        return super().of(place, {**data, "class_path": data.get("class", "")})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Command(Placed):
    """A command template: a text for the shell, or words that run without one."""

    module: str
    shell: str | None = None
    argv: Sequence[str] | None = None

    @property
    def kind(self) -> str:
        """Which of its two keys it has: `shell` or `argv`."""
        return "shell" if self.argv is None else "argv"

    def module_of(self, job: str) -> str:
        """The module that holds a job's parser."""
        return self.module.replace(JOB, job)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Defaults(Placed):
    """The contents of defaults.yaml: what all pipelines share."""

    dag: DagSettings
    default_args: DefaultArgs
    operators: Mapping[str, Operator]
    commands: Mapping[str, Command]
    notifiers: Mapping[str, Operator]

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """From the data of a valid file."""
        return cls(
            place=place,
            dag=DagSettings.of(place.at("dag"), data["dag"]),
            default_args=DefaultArgs.of(place.at("default_args"), data["default_args"]),
            operators=_members(Operator, place, data, "operators"),
            commands=_members(Command, place, data, "commands"),
            notifiers=_members(Operator, place, data, "notifiers"),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Address(Placed):
    """A connection's address in an environment; its secrets are in Airflow."""

    host: str | None = None
    port: int | str | None = None
    login: str | None = None
    schema: str | None = None
    extra: dict[str, Value] | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Environment(Placed):
    """An environment as its file has it, or with what it extends merged in."""

    extends: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, Address] = field(default_factory=dict)
    schedules: bool = True
    default_args: DefaultArgs
    operators: Mapping[str, Operator] = field(default_factory=dict)

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """From the data of a valid file, or of a part of it."""
        typed = {
            "connections": _members(Address, place, data, "connections"),
            "default_args": DefaultArgs.of(place.at("default_args"), data.get("default_args", {})),
            "operators": _members(Operator, place, data, "operators"),
        }
        return super().of(place, {**data, **typed})

    @property
    def name(self) -> str:
        """The name of the environment, which is that of its file."""
        return PurePosixPath(self.place.document.file).stem


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Entry(Placed):
    """A variable or a connection of the catalog."""

    description: str
    type: str
    example: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pool(Placed):
    """A pool of the catalog."""

    description: str
    slots: int


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Catalog(Placed):
    """The contents of catalog.yaml: every variable, connection and pool that pipelines may name."""

    variables: Mapping[str, Entry]
    connections: Mapping[str, Entry]
    pools: Mapping[str, Pool]
    probes: Mapping[str, str]  # by a type, the module that says what preflight asks of it

    @classmethod
    def of(cls, place: Place, data: Mapping[str, Any]) -> Self:
        """From the data of a valid file."""
        return cls(
            place=place,
            variables=_members(Entry, place, data, "variables"),
            connections=_members(Entry, place, data, "connections"),
            pools=_members(Pool, place, data, "pools"),
            probes=data.get("probes", {}),
        )

    @property
    def examples(self) -> dict[str, str]:
        """The example of each variable by name."""
        return {name: entry.example for name, entry in self.variables.items()}

    def connections_of(self, kind: str | None) -> list[str]:
        """The connections of a type."""
        return [name for name, entry in self.connections.items() if entry.type == kind]
