"""The checks that JSON Schema cannot make: inside a file and across files.

Each check is a function from the project and one pipeline to problems. It runs only on documents that read well and
pass their schema, so it may trust the shape.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import jsonschema

from pipeline_config import templates
from pipeline_config.compiler import JOB_CONNECTION_TYPES, argv, option_words
from pipeline_config.problem import Problem
from pipeline_config.project import Project
from pipeline_config.reader import Document, KeyPath
from pipeline_config.schema import did_you_mean


@dataclass(frozen=True)
class Context:
    """One pipeline among the others."""

    project: Project
    document: Document

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

    def section(self, document: Document, key: str) -> dict[str, Any]:
        """A mapping of a shared document."""
        section: dict[str, Any] = document.data[key]
        return section

    def problem(self, path: KeyPath, message: str, hint: str = "") -> Problem:
        """A problem in the pipeline's file."""
        return self.document.problem(path, message, hint, at_value=True)


def check(project: Project) -> list[Problem]:
    """All problems of a project, by file and line. The checks across files wait until the shared files are right."""
    problems = list(project.problems)
    if not any(document.problems for document in project.shared):
        problems += _environments(project)
        for document in project.pipelines:
            if not document.problems:
                context = Context(project, document)
                problems += [problem for one_check in CHECKS for problem in one_check(context)]
    return sorted(set(problems))


def _file_name(context: Context) -> Iterator[Problem]:
    stem = context.document.file.rsplit("/", 1)[-1].removesuffix(".yaml")
    dag_id = context.data["dag_id"]
    if dag_id != stem:
        yield context.problem(("dag_id",), f"dag_id {dag_id!r} is not the file's name", f"rename one: {stem!r}")


def _duplicate_dag(context: Context) -> Iterator[Problem]:
    dag_id = context.data["dag_id"]
    for other in context.project.pipelines:
        if other is not context.document and other.data and other.data.get("dag_id") == dag_id:
            yield context.problem(("dag_id",), f"dag_id {dag_id!r} stands in {other.file} too", "each DAG has its own")


def _schedule(context: Context) -> Iterator[Problem]:
    schedule = context.data["schedule"]
    if schedule is None:
        return
    from croniter import CroniterBadCronError, croniter  # most pipelines have no schedule

    fields = schedule.split()
    if len(fields) != len(CRON_FIELDS) and not schedule.startswith("@"):
        yield context.problem(
            ("schedule",), f"cron {schedule!r} has {len(fields)} fields", f"5: {', '.join(CRON_FIELDS)}"
        )
        return
    try:
        croniter(schedule)
    except (CroniterBadCronError, ValueError) as error:
        yield context.problem(("schedule",), f"cron {schedule!r} is wrong: {error}", f"order: {', '.join(CRON_FIELDS)}")


CRON_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


def _dependencies(context: Context) -> Iterator[Problem]:
    ids = [task["task_id"] for task in context.tasks]
    for index, task in enumerate(context.tasks):
        if Counter(ids[:index])[task["task_id"]]:
            yield context.problem(("tasks", index, "task_id"), f"task_id {task['task_id']!r} stands twice")
        for number, name in enumerate(task.get("dependencies", [])):
            if name not in ids:
                hint = did_you_mean(name, ids)
                yield context.problem(("tasks", index, "dependencies", number), f"no task is called {name!r}", hint)
    cycle = find_cycle({task["task_id"]: task.get("dependencies", []) for task in context.tasks})
    if cycle:
        index = ids.index(cycle[0])
        path: KeyPath = ("tasks", index, "dependencies")
        yield context.problem(path, f"tasks wait for each other: {' → '.join(cycle)}", "remove one of the dependencies")


def find_cycle(graph: dict[str, list[str]]) -> list[str]:
    """A cycle as the list of its nodes, the first one again at the end; empty when there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done or node not in graph:
            return []
        for upstream in graph[node]:
            if found := visit(upstream, [*trail, node]):
                return found
        done.add(node)
        return []

    return next((found for node in graph if (found := visit(node, []))), [])


def _operators(context: Context) -> Iterator[Problem]:
    operators = context.section(context.project.defaults, "operators")
    connections = context.section(context.project.catalog, "connections")
    for index, task in enumerate(context.tasks):
        operator = operators.get(task["operator"])
        if operator is None:
            hint = did_you_mean(task["operator"], list(operators))
            yield context.problem(("tasks", index, "operator"), f"no operator is called {task['operator']!r}", hint)
            continue
        name = task.get("connection")
        if name in connections and connections[name]["type"] != operator.get("connection_type"):
            message = f"{name} is a connection of type {connections[name]['type']}, the operator needs "
            message += str(operator.get("connection_type"))
            yield context.problem(("tasks", index, "connection"), message)


def _commands(context: Context) -> Iterator[Problem]:
    commands = context.section(context.project.defaults, "commands")
    for index, task in enumerate(context.tasks):
        if "command" not in task:
            continue
        if task["command"] not in commands:
            hint = did_you_mean(task["command"], list(commands))
            path: KeyPath = ("tasks", index, "command")
            yield context.problem(path, f"no command template is called {task['command']!r}", hint)
            continue
        yield from _job_arguments(context, index, task, commands[task["command"]])


class _ParserError(Exception):
    """What argparse would have printed before it ended the process."""


@cache
def _parser(module: str) -> argparse.ArgumentParser | str:
    """A job's own parser, or why there is none."""
    path = module.replace(".", "/")
    try:
        if importlib.util.find_spec(module) is None:
            return f"there is no {path}.py"
        name = f"{module}.__main__" if importlib.util.find_spec(f"{module}.__main__") else module
    except ModuleNotFoundError:
        name = module  # a module, not a package: it has no __main__
    try:
        parser: argparse.ArgumentParser = importlib.import_module(name).parser()
    except Exception as error:  # noqa: BLE001 (a job may be broken in any way; the person reads how)
        return f"{path} cannot be asked for its options: {type(error).__name__}: {error}"
    return parser


def _job_arguments(context: Context, index: int, task: dict[str, Any], template: dict[str, Any]) -> Iterator[Problem]:
    module = template["module"].replace("{job}", task["job"])
    parser = _parser(module)
    if isinstance(parser, str):
        yield context.problem(("tasks", index, "job"), f"job {task['job']!r}: {parser}")
        return
    given, options = task.get("arguments", {}), _options(parser, task["job"])
    unknown = [name for name in given if name not in options]
    for name in unknown:
        hint = did_you_mean(name, options)
        yield context.document.problem(
            ("tasks", index, "arguments", name), f"{task['job']} has no option --{name}", hint
        )
    if unknown:
        return
    try:
        arguments = {name: _example(context, value) for name, value in given.items()}
    except (jinja2.TemplateError, TypeError, AttributeError, KeyError):
        return  # the template check names it, with its place
    words = argv(template["argv"], task["job"], arguments) if "argv" in template else option_words(arguments)
    try:
        _parse(parser, words)
    except _ParserError as error:
        named = next((name for name in arguments if f"--{name}" in str(error).split(":")[0]), None)
        path: KeyPath = ("tasks", index, "arguments", named) if named else ("tasks", index, "arguments")
        hint = f"it takes: {', '.join(options)}"
        yield context.document.problem(path, f"{task['job']} refuses its arguments: {error}", hint)


def _options(parser: argparse.ArgumentParser, job: str) -> list[str]:
    """The long options of a job without their dashes; of the producer, those of the mode that `job` names."""
    own = parser
    for action in parser._actions:  # argparse has no public way to list options
        if isinstance(action, argparse._SubParsersAction):
            own = action.choices.get(job, parser)
    names = [text[2:] for action in own._actions for text in action.option_strings if text.startswith("--")]
    return [name for name in names if name != "help"]


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Parse without the process ending; argparse's own error text comes back as _ParserError."""

    def refuse(_: Any, message: str) -> None:
        raise _ParserError(message)

    original = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        parser.parse_args(words)
    finally:
        argparse.ArgumentParser.error = original  # type: ignore[method-assign]


def _example(context: Context, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    variables = context.section(context.project.catalog, "variables")
    params = {name: param["default"] for name, param in context.data.get("params", {}).items()}
    return templates.render(value, {name: entry["example"] for name, entry in variables.items()}, params)


def _params(context: Context) -> Iterator[Problem]:
    for name, param in context.data.get("params", {}).items():
        path: KeyPath = ("params", name, "default")
        schema = {key: value for key, value in param.items() if key not in {"default", "description"}}
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
            jsonschema.validate(param["default"], schema, jsonschema.Draft202012Validator)
        except jsonschema.SchemaError as error:
            yield context.problem(("params", name), f"param {name!r} is no JSON Schema: {error.message}")
        except jsonschema.ValidationError as error:
            yield context.problem(path, f"the default of param {name!r} breaks its own schema: {error.message}")


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _template_texts(context: Context) -> Iterator[tuple[KeyPath, str]]:
    """Every text of a task that Airflow renders, also what its operator and command template bring."""
    defaults = context.project.defaults
    for index, task in enumerate(context.tasks):
        for key in ("arguments", "conf", "trigger_dag_id"):
            yield from _texts(task.get(key), ("tasks", index, key))
        operator = context.section(defaults, "operators").get(task["operator"], {})
        command = context.section(defaults, "commands").get(task.get("command", ""), {})
        for _, text in _texts([operator.get("arguments"), command.get("shell"), command.get("argv")], ()):
            yield ("tasks", index), text


def _template_reads(context: Context) -> Iterator[Problem]:
    declared = {key: list(context.data.get(key, [])) for key in ("variables", "connections")}
    params = list(context.data.get("params", {}))
    for path, text in _template_texts(context):
        try:
            reads = templates.reads(text)
        except jinja2.TemplateSyntaxError as error:
            yield context.problem(path, f"Jinja: {error.message}")
            continue
        for name in sorted(reads.names - templates.CONTEXT):
            hint = did_you_mean(name, sorted(templates.CONTEXT))
            yield context.problem(path, f"Jinja: Airflow knows no {name!r} in a template", hint)
        for name in sorted(reads.params - set(params)):
            yield context.problem(path, f"params.{name} is read, and no param is called so", did_you_mean(name, params))
        for kind, names in (("variables", reads.variables), ("connections", reads.connections)):
            for name in sorted(names - set(declared[kind])):
                hint = f"add it to {kind}:"
                yield context.problem(path, f"{kind[:-1]} {name} is used, but not declared", hint)


def _declared(context: Context) -> Iterator[Problem]:
    catalog = context.project.catalog
    used = _used(context)
    for kind in ("variables", "connections"):
        known = context.section(catalog, kind)
        for index, name in enumerate(context.data.get(kind, [])):
            if name not in known:
                hint = did_you_mean(name, list(known))
                yield context.problem((kind, index), f"{kind[:-1]} {name} is not in pipelines/catalog.yaml", hint)
            elif used is not None and name not in used[kind]:
                yield context.problem((kind, index), f"{kind[:-1]} {name} is declared, but not used", "remove it")
    for index, task in enumerate(context.tasks):
        name = task.get("connection")
        if name and name not in context.data.get("connections", []):
            yield context.problem(("tasks", index, "connection"), f"connection {name} is used, but not declared")


def _used(context: Context) -> dict[str, set[str]] | None:
    """The variables and connections that the tasks use; None when an unknown name or broken Jinja hides it."""
    operators = context.section(context.project.defaults, "operators")
    commands = context.section(context.project.defaults, "commands")
    connections = {task["connection"] for task in context.tasks if "connection" in task}
    used = {"variables": set[str](), "connections": connections}
    for task in context.tasks:
        if task["operator"] not in operators or task.get("command", next(iter(commands))) not in commands:
            return None
    for _, text in _template_texts(context):
        try:
            reads = templates.reads(text)
        except jinja2.TemplateSyntaxError:
            return None  # reported by _template_reads
        used["variables"] |= reads.variables
        used["connections"] |= reads.connections
    known = context.section(context.project.catalog, "connections")
    if any(operators[task["operator"]].get("connection_type") == "ssh" for task in context.tasks):
        used["connections"] |= {name for name, entry in known.items() if entry["type"] in JOB_CONNECTION_TYPES}
    return used


def _triggers(context: Context) -> Iterator[Problem]:
    targets = {d.data["dag_id"]: d.data for d in context.project.pipelines if d.data and "dag_id" in d.data}
    for index, task in enumerate(context.tasks):
        target = task.get("trigger_dag_id")
        if target is None:
            continue
        path: KeyPath = ("tasks", index)
        if target not in targets:
            hint = did_you_mean(target, list(targets))
            yield context.problem((*path, "trigger_dag_id"), f"no DAG is called {target!r}", hint)
            continue
        yield from _trigger_conf(context, index, task, targets[target].get("params", {}))


def _trigger_conf(context: Context, index: int, task: dict[str, Any], params: dict[str, Any]) -> Iterator[Problem]:
    for name, value in task.get("conf", {}).items():
        path: KeyPath = ("tasks", index, "conf", name)
        if name not in params:
            hint = did_you_mean(name, list(params))
            yield context.document.problem(path, f"{task['trigger_dag_id']} has no param {name!r}", hint)
        elif not (isinstance(value, str) and "{{" in value):
            validator = jsonschema.Draft202012Validator(params[name])
            for error in validator.iter_errors(value):
                yield context.problem(path, f"{task['trigger_dag_id']} refuses {name}: {error.message}")


def _environments(project: Project) -> Iterator[Problem]:
    for name, document in project.environments.items():
        parent = document.data.get("extends")
        if parent and parent not in project.environments:
            hint = did_you_mean(parent, list(project.environments))
            yield document.problem(("extends",), f"no environment is called {parent!r}", hint, at_value=True)
            continue
        data = project.environment(name).data
        for kind in ("variables", "connections"):
            catalog = project.catalog.data[kind]
            for missing in sorted(catalog.keys() - data.get(kind, {}).keys()):
                yield document.problem(
                    (kind,), f"{kind[:-1]} {missing} has no value here", f"like {catalog[missing]['example']}"
                )
            for unknown in sorted(document.data.get(kind, {}).keys() - catalog.keys()):
                hint = did_you_mean(unknown, list(catalog))
                yield document.problem((kind, unknown), f"{kind[:-1]} {unknown} is not in pipelines/catalog.yaml", hint)


CHECKS: tuple[Callable[[Context], Iterator[Problem]], ...] = (
    _file_name,
    _duplicate_dag,
    _schedule,
    _dependencies,
    _operators,
    _commands,
    _params,
    _template_reads,
    _declared,
    _triggers,
)
