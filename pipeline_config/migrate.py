"""`migrate`: DAGs in dag-factory's own YAML as pipelines, and a report of what has no equivalent here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from pipeline_config import dag_factory_values, new, yaml_text
from pipeline_config.checks import check
from pipeline_config.compiler import MARKER
from pipeline_config.dag_factory_values import Param, assets, day, minutes
from pipeline_config.errors import CommandError
from pipeline_config.migrate_tasks import CALLBACK, migrated
from pipeline_config.model import Pipeline, Place
from pipeline_config.problem import Problem
from pipeline_config.project import Project, load_project, merge
from pipeline_config.reader import Document, KeyPath, content_of, parse
from pipeline_config.schema import kind, schema_of

SCHEDULES = ("schedule", "schedule_interval", "timetable")
SAME = ("catchup", "max_active_runs", "is_paused_upon_creation", "tags")
SAME_ARGS = ("owner", "retries", "retry_exponential_backoff", "depends_on_past", "priority_weight")
DURATIONS = {
    "retry_delay": "retry_delay_minutes",
    "retry_delay_sec": "retry_delay_minutes",
    "max_retry_delay": "max_retry_delay_minutes",
    "execution_timeout": "execution_timeout_minutes",
    "execution_timeout_secs": "execution_timeout_minutes",
}
_MAPPING: dict[str, Any] = {"type": ["object", "null"]}
_MEMBERS: dict[str, Any] = {"additionalProperties": _MAPPING, "items": {"type": "object"}}
# As far as it is needed here.
SHAPE: dict[str, Any] = {
    "additionalProperties": {
        "properties": {
            "default_args": _MAPPING,
            "params": _MAPPING,
            "tasks": {"type": ["object", "array"], **_MEMBERS},
            "task_groups": {"type": ["object", "array", "null"], **_MEMBERS},
        }
    }
}
START, END = "start", "end"
_VARIABLE = re.compile(r"\bvar\.(?:value|json)\.(\w+)")


def run(project: Project, file: Path, folder: str) -> tuple[list[str], bool]:
    """Write a pipeline for each DAG of `file`. Returns lines to print, and whether everything was converted.

    Raises CommandError when the file cannot be read, or a pipeline cannot be written; then none is.
    """
    document, dags = read(file)
    done = {dag_id: Dag(project, document, dag_id, config) for dag_id, config in dags.items()}
    paths = {dag_id: new.place(project, dag_id, folder) for dag_id in done}
    lines: list[str] = []
    for dag_id, dag in done.items():
        text = "\n".join(yaml_text.mapping(dag.pipeline)) + "\n"
        new.write(paths[dag_id], new.modeline(project, paths[dag_id]) + text)
        lines += [f"{paths[dag_id]}: written", *(str(note) for note in sorted(set(dag.notes)))]
    written = {path.relative_to(project.root).as_posix() for path in paths.values()}
    left = [problem for problem in check(load_project(project.root)) if problem.file in written]
    complete = not any(problem.severity == "error" for problem in left) and not any(dag.notes for dag in done.values())
    return [*dict.fromkeys(lines), *map(str, left)], complete


def read(file: Path) -> tuple[Document, dict[str, dict[str, Any]]]:
    """The file with its places, and the DAGs in it by dag_id, `default` merged in. Raises CommandError."""
    document = parse(Document(str(file)), content_of(file))
    for problem in document.problems:
        if not problem.path:
            raise CommandError(str(problem))
    try:
        data = yaml.load(document.text, yaml.CSafeLoader)  # as dag-factory reads it: `yes` is true
    except yaml.YAMLError as error:
        raise CommandError(f"{file}: {' '.join(str(error).split())}") from None
    for wrong in jsonschema.Draft7Validator(SHAPE).iter_errors(data):
        message = f"this is {kind(wrong.instance)}, where dag-factory has a mapping"
        raise CommandError(str(document.problem(tuple(wrong.absolute_path), message)))
    default = dag_factory_values.plain(data.pop("default", None) or {})
    dags = {
        str(dag_id): _over(default, dag_factory_values.plain(config))
        for dag_id, config in data.items()
        if isinstance(config, dict) and "tasks" in config
    }
    if not dags:
        raise CommandError(f"{file}: it has no dag-factory DAG, which has tasks: below its dag_id")
    return document, dags


def _over(default: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """A DAG's own keys over those of `default`; its own schedule over one that has another of the names."""
    of_another_name = SCHEDULES if any(key in config for key in SCHEDULES) else ()
    return merge({key: value for key, value in default.items() if key not in of_another_name}, config)


class Dag:
    """One DAG: `pipeline` has the keys of ours, `notes` say what has no equivalent here."""

    def __init__(self, project: Project, document: Document, dag_id: str, config: dict[str, Any]) -> None:
        self.project = project
        self.document = document
        self.dag_id = dag_id
        self.notes: list[Problem] = []
        self.pipeline: dict[str, Any] = {"dag_id": dag_id, "description": f"Migrated from {Path(document.file).name}"}
        self.rest = dict(config)
        self._dag()
        self._default_args(dict(self.rest.pop("default_args", None) or {}))
        self._groups()
        self._tasks()
        for key in self.rest:
            self.note((key,), f"{key} has no equivalent here")
        self._declare()
        order = list(schema_of("pipeline")["properties"])
        self.pipeline = dict(sorted(self.pipeline.items(), key=lambda item: order.index(item[0])))

    def note(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Say what is not converted, at its place: in the DAG, or in `default`."""
        own: KeyPath = (self.dag_id, *path)
        default: KeyPath = ("default", *path)
        self.notes.append(
            self.document.problem(own if own in self.document.places else default, message, hint, severity="warning")
        )

    def take(self, key: str) -> Any:
        """Take a key of the DAG, which is then done."""
        return self.rest.pop(key, None)

    def _dag(self) -> None:
        if description := self.take("description"):
            self.pipeline["description"] = " ".join(str(description).split())
        self.rest.pop("dag_id", None)
        self._schedule()
        for key in SAME:
            if key in self.rest:
                self.pipeline[key] = self.take(key)
        if not isinstance(self.pipeline["schedule"], str):
            self.pipeline.pop("catchup", None)  # which says nothing then
        for key in ("start_date", "end_date"):
            self._date(key, self.take(key), (key,))
        if zone := self.take("timezone"):
            self.pipeline["timezone"] = zone
        if (timeout := self.take("dagrun_timeout")) is not None:
            self.pipeline["dagrun_timeout_minutes"] = minutes(timeout)
        if params := self.take("params"):
            self.pipeline["params"] = {name: self._param(name, value) for name, value in params.items()}
        for key in [key for key in self.rest if CALLBACK.fullmatch(key)]:
            self._callback((key,), key, self.take(key))

    def _schedule(self) -> None:
        key = next((key for key in SCHEDULES if key in self.rest), SCHEDULES[0])
        value = self.take(key)
        if isinstance(value, str) and value.strip().lower() == "none":
            value = None
        self.pipeline["schedule"] = found = self._ours(value)
        if value is not None and found is None:
            self.note(
                (key,),
                "this schedule has no equivalent here",
                "the pipeline has none; write a cron expression or assets",
            )

    def _ours(self, value: Any) -> Any:
        """A schedule as ours; None for what has no equivalent here."""
        if isinstance(value, str) and "://" not in value:
            return value
        if isinstance(value, dict) and set(value) == {"datasets", "timetable"}:
            condition = assets(value["datasets"])
            condition = {"all": condition} if isinstance(condition, list) else condition
            cron = self._cron(value["timetable"]) if isinstance(condition, dict) else None
            return {**condition, "cron": cron} if cron else None
        found = self._cron(value) or assets(value)
        return [found] if isinstance(found, str) and "://" in found else found

    def _cron(self, value: Any) -> str | None:
        expression, zone = dag_factory_values.cron(value) or (None, "")
        if zone:
            self.pipeline["timezone"] = zone
        return expression

    def _date(self, key: str, value: Any, path: KeyPath) -> None:
        if value is None:
            return
        if date := day(value):
            self.pipeline.setdefault(key, date)
        else:
            hint = "the one of defaults.yaml is used" if key == "start_date" else ""
            self.note(path, f"{key} {value!r} is not a fixed date", hint)

    def _param(self, name: str, value: Any) -> dict[str, Any]:
        given = dict(value.schema) if isinstance(value, Param) else {"default": value}
        kinds = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", str: "string"}
        default = given.get("default")
        schema: dict[str, Any] = {"type": kinds.get(type(default), ["null", "string"])}
        known = schema_of("pipeline")["properties"]["params"]["additionalProperties"]["properties"]
        for key, item in given.items():
            if key in known:
                schema[key] = item
            else:
                self.note(("params", name), f"{key} of a param has no equivalent here")
        return {**schema, "default": default, "description": given.get("description", name)}

    def _default_args(self, given: dict[str, Any]) -> None:
        args: dict[str, Any] = {}
        for key, value in given.items():
            path: KeyPath = ("default_args", key)
            if key in SAME_ARGS:
                args[key] = value
            elif key in DURATIONS and minutes(value) is not None:
                args[DURATIONS[key]] = minutes(value)
            elif key in ("start_date", "end_date"):
                self._date(key, value, path)
            elif key == "timezone":
                self.pipeline.setdefault(key, value)
            elif CALLBACK.fullmatch(key):
                self._callback(path, key, value)
            else:
                self.note(path, f"{key} has no equivalent here among default_args")
        if args:
            self.pipeline["default_args"] = args

    def _callback(self, path: KeyPath, key: str, value: Any) -> None:
        what = value.get("callback", "") if isinstance(value, dict) else value
        hint = "declare a notifier in pipelines/defaults.yaml and name it in on_failure, on_retry or on_success"
        self.note(path, f"the callback {key} {what} is not converted", hint)

    def _groups(self) -> None:
        groups = {}
        for name, group, path in _members(self.take("task_groups") or {}, "group_name", ("task_groups",)):
            names = {"tooltip": "description", "parent_group_name": "group", "dependencies": "dependencies"}
            groups[name] = {ours: group[key] for key, ours in names.items() if group.get(key)}
            for key in group.keys() - names.keys():
                self.note((*path, key), f"{key} of a task group has no equivalent here")
        if groups:
            self.pipeline["task_groups"] = groups

    def _tasks(self) -> None:
        self.pipeline["tasks"] = []
        for name, task, path in _members(self.take("tasks") or {}, "task_id", ("tasks",)):

            def note(key: str, message: str, hint: str, path: KeyPath = path) -> None:
                self.note((*path, key), message, hint)

            self.pipeline["tasks"].append(migrated(name, task, note))
        self._connect()

    def _connect(self) -> None:
        """If a task is connected to no other, all tasks get a start and an end here."""
        tasks, graph = self.pipeline["tasks"], Pipeline.of(Place(self.document), self.pipeline).upstream
        waited_for = {name for names in graph.values() for name in names}
        last = [name for name in graph if name not in waited_for]
        if len(graph) > 1 and not {START, END} & graph.keys() and any(not graph[name] for name in last):
            for task in tasks:
                if not graph[task["task_id"]]:
                    task["dependencies"] = [START]
            tasks.insert(0, {"task_id": START, "operator": MARKER})
            tasks.append({"task_id": END, "operator": MARKER, "dependencies": last})

    def _declare(self) -> None:
        """The variables and connections that the tasks read; reports those that the catalog lacks."""
        texts = json.dumps(self.pipeline["tasks"], default=str)
        used = {
            "variables": dict.fromkeys(_VARIABLE.findall(texts)),
            "connections": dict.fromkeys(re.findall(r'"\w*conn_id": "([^"{]+)"', texts)),
        }
        for key, names in used.items():
            if names:
                self.pipeline[key] = list(names)
            for name in names.keys() - getattr(self.project.catalog, key).keys():
                hint = f"declare it under {key}: there, and give it a value in each environment"
                self.note((), f"{key.removesuffix('s')} {name} is not in pipelines/catalog.yaml", hint)
        for name in {task["pool"] for task in self.pipeline["tasks"] if "pool" in task}:
            if name not in self.project.catalog.pools:
                self.note((), f"pool {name} is not in pipelines/catalog.yaml", "declare it under pools: there")


def _members(value: Any, key: str, path: KeyPath) -> Iterator[tuple[str, dict[str, Any], KeyPath]]:
    """Tasks or groups, which are a list or a mapping by name: name, the other keys, place."""
    if isinstance(value, dict):
        yield from ((str(name), dict(member or {}), (*path, name)) for name, member in value.items())
    else:
        for index, member in enumerate(value):
            yield str(member.get(key, index)), {name: it for name, it in member.items() if name != key}, (*path, index)
