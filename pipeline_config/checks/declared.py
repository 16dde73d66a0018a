"""Checks that what a pipeline declares and what its templates read are the same: variables, connections, params."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2

from pipeline_config import stand_ins, templates
from pipeline_config.checks.commands import example
from pipeline_config.checks.context import Context, texts
from pipeline_config.compiler import JOB_CONNECTION_TYPES, is_class_path
from pipeline_config.errors import RenderError, UnknownError
from pipeline_config.problem import Problem
from pipeline_config.reader import KeyPath
from pipeline_config.schema import did_you_mean, refusals

DECLARED = {"variables": "variable", "connections": "connection", "params": "param"}


def params(context: Context) -> Iterator[Problem]:
    """The default of each param keeps the param's own schema."""
    for name, param in context.data.get("params", {}).items():
        for message in refusals(param, param["default"]):
            path: KeyPath = ("params", name, "default")
            yield context.problem(path, f"the default of param {name!r} breaks its own schema: {message}")


def task_templates(context: Context) -> Iterator[tuple[KeyPath, str, bool]]:
    """Every text that Airflow renders for a task: its place, and whether it stands in the pipeline's own file."""
    for index, task in enumerate(context.tasks):
        for key in ("arguments", "advanced", "for_each", "conf", "trigger_dag_id"):
            for path, text in texts(task.get(key), ("tasks", index, key)):
                yield path, text, True
        command = context.commands.get(task.get("command", ""), {})
        brought = [context.operator(task).get("arguments"), command.get("shell"), command.get("argv")]
        for _, text in texts(brought, ()):
            yield ("tasks", index), text, False


def template_reads(context: Context) -> Iterator[Problem]:
    """Jinja is right, Airflow knows its names, and each variable, connection and param that it reads is declared."""
    for path, text, own in task_templates(context):
        try:
            reads = templates.reads(text)
        except jinja2.TemplateSyntaxError as error:
            offset = templates.where_wrong(text, error)
            yield context.document.within(path, text, offset, f"Jinja: {error.message}")
            continue
        if own:
            for unknown in reads.unknown:
                message = f"Jinja: {unknown.message}"
                yield context.document.within(path, text, unknown.offset, message, unknown.hint)
            for name, offset in reads.uncertain.items():
                message = f"{name} is undefined in a run that somebody triggers without a date"
                yield context.document.within(path, text, offset, message, "read a param", severity="warning")
            yield from _no_json(context, path, text, reads)
        yield from _undeclared(context, path, text, reads)


def rendered(context: Context) -> Iterator[Problem]:
    """What can be read can be rendered: with the catalog's examples and the params' defaults, as far as they tell."""
    for path, text, own in task_templates(context):
        if own and not any(templates.what_is_wrong(text)):
            try:
                example(context, text)
            except UnknownError:
                continue
            except RenderError as error:
                yield context.problem(path, f"Jinja: cannot be rendered: {error}")


def _undeclared(context: Context, path: KeyPath, text: str, reads: templates.Reads) -> Iterator[Problem]:
    for kind, word in DECLARED.items():
        declared = context.data.get(kind, [])
        for name, offset in getattr(reads, kind).items():
            if name not in declared:
                hint = f"add it to {kind}:"
                if kind == "params" or name not in context.catalog(kind):
                    near = did_you_mean(name, list(declared))
                    hint = near if near.startswith("did you") else hint
                yield context.document.within(path, text, offset, f"{word} {name} is used, but not declared", hint)


def _no_json(context: Context, path: KeyPath, text: str, reads: templates.Reads) -> Iterator[Problem]:
    known = {name: entry["example"] for name, entry in context.catalog("variables").items()}
    for name, offset in reads.as_json.items():
        if name in known and name not in stand_ins.readable(known):
            message = f"variable {name} is text, such as {known[name]!r}, and var.json reads JSON"
            yield context.document.within(path, text, offset, message, f"write var.value.{name}")


def shell_variables(context: Context) -> Iterator[Problem]:
    """`$NAME` in a job's option or in a conf is nothing that is filled in: every value is quoted for the shell."""
    known = context.catalog("variables")
    for index, task in enumerate(context.tasks):
        for key in ("arguments", "conf"):
            for path, text in texts(task.get(key), ("tasks", index, key)):
                for match in _SHELL_VARIABLE.finditer(text):
                    name = match["name"]
                    hint = f"write {{{{ var.value.{name} }}}}" if name in known else "write what it stands for"
                    message = f"{match[0]} is not filled in here"
                    yield context.document.within(path, text, match.start(), message, hint)


_SHELL_VARIABLE = re.compile(r"\$\{?(?P<name>[A-Z][A-Z0-9_]*)\b\}?")


def unquoted_params(context: Context) -> Iterator[Problem]:
    """Warnings: a text that somebody types into a form is part of a shell command, and not quoted."""
    params = context.data.get("params", {})
    for index, task in enumerate(context.tasks):
        for name, text in task.get("advanced", {}).items():
            if name in SHELL_ARGUMENTS and isinstance(text, str) and not any(templates.what_is_wrong(text)):
                for param, offset in templates.unquoted_params(text):
                    if _is_free_text(params.get(param, {})):
                        message = f"param {param} is text, and the shell runs what is typed into it"
                        hint = f"write {{{{ params.{param} | shell_quote }}}}"
                        path: KeyPath = ("tasks", index, "advanced", name)
                        yield context.document.within(path, text, offset, message, hint, severity="warning")


SHELL_ARGUMENTS = ("bash_command", "command")


def _is_free_text(schema: dict[str, Any]) -> bool:
    return "string" in schema.get("type", ()) and not schema.keys() & {"enum", "format", "pattern"}


def declared(context: Context) -> Iterator[Problem]:
    """What is declared is in the catalog; each task's connection is declared."""
    for kind in ("variables", "connections"):
        known = context.catalog(kind)
        for index, name in enumerate(context.data.get(kind, [])):
            if name not in known:
                hint = did_you_mean(name, list(known))
                yield context.problem((kind, index), f"{DECLARED[kind]} {name} is not in pipelines/catalog.yaml", hint)
    for index, task in enumerate(context.tasks):
        connection = task.get("connection")
        if connection and connection not in context.data.get("connections", []):
            message = f"connection {connection} is used, but not declared"
            yield context.problem(("tasks", index, "connection"), message, "add it to connections:")


def unused(context: Context) -> Iterator[Problem]:
    """What is declared is used. Of a file with no other error: else it may only seem unused."""
    used = _used(context)
    for kind, word in DECLARED.items():
        for index, name in enumerate(context.data.get(kind, [])):
            if used is not None and name not in used[kind]:
                path: KeyPath = (kind, name) if kind == "params" else (kind, index)
                yield context.document.problem(path, f"{word} {name} is declared, but not used", "remove it")


def _used(context: Context) -> dict[str, set[str]] | None:
    """The variables, connections and params that the tasks use; None when an error hides some of them."""
    known = context.catalog("connections")
    connections = {task["connection"] for task in context.tasks if "connection" in task}
    used = {"variables": set[str](), "connections": connections, "params": set[str]()}
    for task in context.tasks:
        operator = task["operator"]
        if is_class_path(operator):
            advanced = task.get("advanced", {}).items()
            connections |= {value for name, value in advanced if name.endswith("conn_id") and isinstance(value, str)}
        elif operator not in context.operators or ("command" in task and task["command"] not in context.commands):
            return None
        if context.operator(task).get("connection_type") == "ssh":
            connections |= {name for name, entry in known.items() if entry["type"] in JOB_CONNECTION_TYPES}
    for _, text, _ in task_templates(context):
        try:
            reads: Any = templates.reads(text)
        except jinja2.TemplateSyntaxError:
            return None  # reported by template_reads
        for kind in DECLARED:
            used[kind] |= getattr(reads, kind).keys()
    return used


def advanced_connections(context: Context) -> Iterator[Problem]:
    """A connection that a class is given by an argument such as `ssh_conn_id` is declared."""
    for index, task in enumerate(context.tasks):
        for name, value in task.get("advanced", {}).items():
            if name.endswith("conn_id") and isinstance(value, str) and "{" not in value:
                if value not in context.data.get("connections", []):
                    path: KeyPath = ("tasks", index, "advanced", name)
                    yield context.problem(
                        path, f"connection {value} is used, but not declared", "add it to connections:"
                    )
