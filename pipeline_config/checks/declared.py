"""Checks that what a pipeline declares and what its templates read are the same: variables, connections, params."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2

from pipeline_config import stand_ins, templates
from pipeline_config.checks.commands import example
from pipeline_config.checks.context import Context, invisible, texts
from pipeline_config.connection_types import FOR_JOBS, is_remote_shell
from pipeline_config.errors import RenderError, RunValueError
from pipeline_config.model import Place, Task
from pipeline_config.problem import Problem
from pipeline_config.schema import Schema, did_you_mean, refusals

DECLARED = {"variables": "variable", "connections": "connection", "params": "param"}


def params(context: Context) -> Iterator[Problem]:
    """The default of each param matches the param's own schema."""
    for name, param in context.pipeline.params.items():
        for message in refusals(param, param["default"]):
            place = context.pipeline.at("params", name, "default")
            yield place.problem(f"the default of param {name!r} violates its own schema: {message}")


def template_reads(context: Context) -> Iterator[Problem]:
    """Jinja is valid, Airflow knows its names, and each variable, connection and param that it reads is declared."""
    for place, text, own in context.templates:
        try:
            reads = templates.reads(text)
        except jinja2.TemplateSyntaxError as error:
            if own:  # else it is reported where it is
                yield place.within(text, *templates.what_is_invalid(text, error))
            continue
        if own:
            for unknown in reads.unknown:
                hint = _where(context, unknown.name) or unknown.hint
                yield place.within(text, unknown.offset, f"Jinja: {unknown.message}", hint)
            for name, offset in reads.uncertain.items():
                message = f"{name} is undefined in a run that somebody triggers without a date"
                yield place.within(text, offset, message, "read a param", "warning")
            yield from _no_json(context, place, text, reads)
            yield from _past_the_param(context, place, text)
        yield from _undeclared(context, place, text, reads, own=own)


def _where(context: Context, name: str) -> str:
    """The hint for a name that is known elsewhere."""
    known = (
        ("params", context.pipeline.params),
        ("var.value", context.project.catalog.variables),
        ("macros", templates.ATTRIBUTES["macros"]),
    )
    return next((f"write {where}.{name}" for where, names in known if name in names), "")


def rendered(context: Context) -> Iterator[Problem]:
    """Valid templates can be rendered with the catalog's examples and the params' defaults, as far as these suffice."""
    for place, text, own in context.templates:
        if own and not any(templates.what_is_wrong(text)):
            try:
                example(context, text, templates.value if "conf" in place.path else templates.render)
            except RunValueError:
                continue
            except RenderError as error:
                yield place.problem(f"Jinja: cannot be rendered: {error}")


def _undeclared(context: Context, place: Place, text: str, reads: templates.Reads, *, own: bool) -> Iterator[Problem]:
    for kind, word in DECLARED.items():
        declared = getattr(context.pipeline, kind)
        for name, offset in getattr(reads, kind).items():
            is_known = name in getattr(context.project.catalog, kind, ())
            if name not in declared and (own or is_known or kind == "params"):  # else defaults.yaml is wrong
                yield place.within(text, offset, f"{word} {name} is used, but not declared", _add(context, kind, name))


def _add(context: Context, kind: str, name: str) -> str:
    """The hint for a name that is used and not declared: declare it, or the declared one that it resembles."""
    hint = f"add it to {kind}:"
    if name in getattr(context.project.catalog, kind, ()):
        return hint
    near = did_you_mean(name, list(getattr(context.pipeline, kind)))
    if near.startswith("did you"):
        return near
    return hint if kind == "params" else f"declare it in pipelines/catalog.yaml, and {hint}"


def _no_json(context: Context, place: Place, text: str, reads: templates.Reads) -> Iterator[Problem]:
    known = context.project.catalog.examples if reads.as_json else {}
    for name, offset in reads.as_json.items():
        if name in known and name not in stand_ins.readable(known):
            message = f"variable {name} is text, such as {known[name]!r}, but var.json reads JSON"
            yield place.within(text, offset, message, f"write var.value.{name}")


def _past_the_param(context: Context, place: Place, text: str) -> Iterator[Problem]:
    """`dag_run.conf.name` is what somebody typed: without the default of the param `name`."""
    for match in _CONF.finditer(text):
        if match["name"] in context.pipeline.params:
            message = f"{match[0]} has no default, while param {match['name']} has"
            yield place.within(text, match.start(), message, f"write params.{match['name']}")


_CONF = re.compile(r"\bdag_run\.conf(?:\.|\[['\"])(?P<name>\w+)(?:['\"]\])?")


def invisible_characters(context: Context) -> Iterator[Problem]:
    """Warnings: what a task passes on contains a character that nobody sees, such as a no-break space."""
    for place, text, own in context.templates:
        for offset, odd in invisible(text.replace("\t", " ")) if own and not text.isprintable() else ():
            yield place.within(text, offset, f"a {odd} is invisible", "remove it, or write a space", "warning")


def shell_variables(context: Context) -> Iterator[Problem]:
    """`$NAME` in a job's option or in a conf is not expanded: every value is quoted for the shell. Nor is `{name}`."""
    params, catalog = context.pipeline.params, context.project.catalog
    for task in context.pipeline.tasks:
        for place, text in (*texts(task.arguments, task.at("arguments")), *texts(task.conf, task.at("conf"))):
            for match, name in templates.not_filled_in(text, params):
                known = (("params", params), ("var.value", catalog.variables))
                hints = [f"write {{{{ {where}.{name} }}}}" for where, names in known if name in names]
                hint = (hints or ["write what it stands for"])[0]
                yield place.within(text, match.start(), f"{match[0]} is not filled in here", hint)


def unquoted_params(context: Context) -> Iterator[Problem]:
    """Warnings: text typed into the trigger form becomes an unquoted part of a shell command."""
    params = context.pipeline.params
    for task in context.pipeline.tasks:
        for name, text in task.advanced.items():
            if name in SHELL_ARGUMENTS and isinstance(text, str) and not any(templates.what_is_wrong(text)):
                for param, offset in templates.unquoted_params(text):
                    if _is_free_text(params.get(param, {})):
                        message = f"param {param} is unquoted text: the shell would run what is typed into it"
                        hint = f"write {{{{ params.{param} | shell_quote }}}}"
                        yield task.at("advanced", name).within(text, offset, message, hint, "warning")


SHELL_ARGUMENTS = ("bash_command", "command")


def _is_free_text(schema: Schema) -> bool:
    return "string" in schema.get("type", ()) and not schema.keys() & {"enum", "format", "pattern"}


def declared(context: Context) -> Iterator[Problem]:
    """What is declared is in the catalog; each task's connection is declared."""
    pipeline, catalog = context.pipeline, context.project.catalog
    for kind, names, known in (
        ("variables", pipeline.variables, catalog.variables),
        ("connections", pipeline.connections, catalog.connections),
    ):
        for index, name in enumerate(names):
            if name not in known:
                message = f"{DECLARED[kind]} {name} is not in pipelines/catalog.yaml"
                yield pipeline.at(kind, index).problem(message, did_you_mean(name, list(known)))
    for task in pipeline.tasks:
        entry = catalog.connections.get(task.connection or "")
        if entry and entry.type != context.connection_type(task):
            continue  # `operators` says so
        if task.connection and task.connection not in pipeline.connections:
            yield _undeclared_connection(context, task.at("connection"), task.connection)


def _undeclared_connection(context: Context, place: Place, name: str) -> Problem:
    return place.problem(f"connection {name} is used, but not declared", _add(context, "connections", name))


def unused(context: Context) -> Iterator[Problem]:
    """What is declared is used. Only for a file without other errors, in which it may only seem unused."""
    used = _used(context)
    for kind, word in DECLARED.items():
        for index, name in enumerate(getattr(context.pipeline, kind)):
            if used is not None and name not in used[kind]:
                place = context.pipeline.at(kind, name if kind == "params" else index)
                yield place.problem(f"{word} {name} is declared, but not used", "remove it", at_key=True)


def _used(context: Context) -> dict[str, set[str]] | None:
    """The variables, connections and params that the tasks use; None when an error hides some of them."""
    defaults, catalog = context.project.defaults, context.project.catalog
    used = {kind: set[str]() for kind in DECLARED}
    connections = used["connections"]
    for task in context.pipeline.tasks:
        connections.update([task.connection] if task.connection else [], (value for _, value in _advanced(task)))
        if not task.is_of_class and (
            task.operator not in defaults.operators or (task.command and task.command not in defaults.commands)
        ):
            return None
        if is_remote_shell(context.connection_type(task)):
            connections.update(name for kind in FOR_JOBS for name in catalog.connections_of(kind))
    for _, text, _ in context.templates:
        try:
            reads: Any = templates.reads(text)
        except jinja2.TemplateSyntaxError:
            return None  # reported by template_reads
        for kind in DECLARED:
            used[kind] |= getattr(reads, kind).keys()
    return used


def advanced_connections(context: Context) -> Iterator[Problem]:
    """A connection passed to a class by an argument such as `ssh_conn_id` is declared."""
    for task in context.pipeline.tasks:
        for name, value in _advanced(task):
            if "{" not in value and value not in context.pipeline.connections:
                yield _undeclared_connection(context, task.at("advanced", name), value)


def _advanced(task: Task) -> Iterator[tuple[str, str]]:
    """The arguments of a class that name a connection."""
    for name, value in task.advanced.items():
        if name.endswith("conn_id") and isinstance(value, str):
            yield name, value
