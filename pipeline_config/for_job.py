"""A pipeline for a job: its options come from the job's own parser, the rest from the other pipelines."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from pipeline_config import argparse_parts, classes, parsers, templates
from pipeline_config.checks.commands import WORDS
from pipeline_config.checks.context import Context, Index
from pipeline_config.checks.data import ONE_WRITER, connection_types
from pipeline_config.compiler import MARKER
from pipeline_config.connection_types import TAKES
from pipeline_config.errors import CommandError
from pipeline_config.flows import fits, flows, variables_of_options
from pipeline_config.model import Operator, Pipeline, Place
from pipeline_config.project import Project
from pipeline_config.reader import Document
from pipeline_config.schema import Schema, did_you_mean

YESTERDAY = "{{{{ params.{} or (dag_run.run_after - macros.timedelta(days=1)) | ds }}}}"


def pipeline_for(project: Project, job: str, dag_id: str, schedule: str | None) -> dict[str, Any]:
    """The keys of a pipeline that runs `job` between a start and an end. Raises CommandError."""
    command, parser = _command_of(project, job)
    kind, operators = project.defaults.commands[command].kind, project.defaults.operators
    operator = next((name for name, its in operators.items() if _runs(its, kind)), None)
    if operator is None:
        raise CommandError(f"no operator of defaults.yaml runs the command {command}, which is {WORDS[kind]}")
    arguments, params = _arguments(project, parser)
    its_type = operators[operator].connection_type
    connection = _connections(project, [its_type] if its_type else [])
    runs_by = {"operator": operator, "connection": "".join(connection)} if connection else {"operator": operator}
    work: dict[str, Any] = {"task_id": job, **runs_by}
    work |= {"command": command, "job": job, "arguments": arguments}
    top = {"dag_id": dag_id, "description": _first_line(parser) or f"Runs {job}", "schedule": schedule}
    alone = Pipeline.of(Place(Document("")), {**top, "params": params, "tasks": [work]})
    flow = flows(project, alone)
    if pool := _pool(project, {data for one in flow for data in one.writes if data.kind in ONE_WRITER}):
        work["pool"] = pool
    needed = [kind for one in flow for kind in sorted(connection_types(project, one))] if kind == "shell" else []
    context = Context(project, alone, Index())
    read = {name for _, text, _ in context.templates for name in templates.reads(text).variables}
    declared = {
        "tags": shared_tags(project),
        "variables": [name for name in project.catalog.variables if name in read],
        "connections": [*connection, *_connections(project, needed)],
        "params": params,
    }
    return {
        **top,
        **{key: value for key, value in declared.items() if value},
        "tasks": [
            {"task_id": "start", "operator": MARKER},
            {**work, "dependencies": ["start"]},
            {"task_id": "end", "operator": MARKER, "dependencies": [job]},
        ],
    }


def _runs(operator: Operator, kind: str) -> bool:
    """Whether it runs commands of that kind: by its connection's type; without one, its class takes such a command."""
    if operator.connection_type:
        return TAKES.get(operator.connection_type) == kind
    types = (classes.parameters(operator.class_path) or {}).get("command")
    return types is not None and (not types or {"shell": "string", "argv": "array"}[kind] in types)


def shared_tags(project: Project) -> list[str]:
    """The tags that all pipelines share."""
    tags = [pipeline.tags for pipeline in project.pipelines]
    return [tag for tag in tags[0] if all(tag in others for others in tags)] if tags else []


def jobs_of(project: Project) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Every job by name: the command template that runs it, and the parser of its options."""
    return {
        job: (name, parser)
        for name, command in project.defaults.commands.items()
        for job, parser in parsers.jobs(command.module).items()
    }


def _command_of(project: Project, job: str) -> tuple[str, argparse.ArgumentParser]:
    known = jobs_of(project)
    if job in known:
        return known[job]
    for command in project.defaults.commands.values():  # a job that is there, and is broken
        why = parsers.job_parser(command.module_of(job))
        if isinstance(why, str) and not why.startswith("there is no "):
            raise CommandError(f"job {job!r}: {why}")
    raise CommandError(f"there is no job {job!r}; {did_you_mean(job, list(known))}")


def _arguments(project: Project, parser: argparse.ArgumentParser) -> tuple[dict[str, str], dict[str, Schema]]:
    """The options of the task, and the params that they read.

    An option reads a variable when one fits its name. Else it is a param, unless the job has a text for it.
    """
    arguments: dict[str, str] = {}
    params: dict[str, Schema] = {}
    for option in argparse_parts.options(parser):
        action = argparse_parts.action_of(parser, option)
        if action.nargs == 0:
            continue  # takes no value
        name = option.replace("-", "_")
        says = help_of(parser, option) or name
        schema = parsers.values(parser, option)
        if variable := _variable(project, option):
            arguments[option] = f"{{{{ var.value.{variable} }}}}"
        elif schema.get("format") == "date" and action.required:
            arguments[option] = YESTERDAY.format(name)
            params[name] = {"type": ["null", "string"], "format": "date", "default": None}
            params[name]["description"] = f"{says}; empty is the day before the run"
        elif action.required or (action.default is not None and schema != {"type": "string"}):
            arguments[option] = f"{{{{ params.{name} }}}}"
            params[name] = {**schema, "default": _default(action, schema), "description": says}
    for option in _unsafe_choices(parser, arguments):
        del arguments[option]
        params.pop(option.replace("-", "_"), None)
    return arguments, params


def _unsafe_choices(parser: argparse.ArgumentParser, arguments: dict[str, str]) -> list[str]:
    """The optional choices, if not all options are given: another one than the job's default may need those."""
    every = {option: argparse_parts.action_of(parser, option) for option in argparse_parts.options(parser)}
    if all(option in arguments or action.nargs == 0 for option, action in every.items()):
        return []
    return [option for option in arguments if every[option].choices and not every[option].required]


def _variable(project: Project, option: str) -> str | None:
    """The variable that most tasks pass to an option of this name; or the one whose name has all of its words."""
    given = [read for pipeline in project.pipelines for read in variables_of_options(pipeline)]
    found = Counter(variable for _, its_option, variable in given if its_option == option)
    if found:
        return found.most_common(1)[0][0]
    named = [name for name in project.catalog.variables if fits(option, name)]
    return named[0] if len(named) == 1 else None


def _default(action: argparse.Action, schema: Schema) -> Any:
    """The job's own default; for an option without one, the least value that it accepts."""
    if action.default is None:
        least = {"boolean": False, "string": "", "integer": schema.get("minimum", 0)}
        return schema["enum"][0] if "enum" in schema else least.get(schema["type"], schema.get("minimum", 1))
    value = action.default
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _pool(project: Project, written: set[Any]) -> str | None:
    """The pool of a task that writes the same tables."""
    every = (flow for pipeline in project.pipelines for flow in flows(project, pipeline))
    return next((flow.task.pool for flow in every if written.intersection(flow.writes) and flow.task.pool), None)


def _connections(project: Project, types: list[str]) -> list[str]:
    """The first connection of the catalog of each type."""
    return [next(iter(project.catalog.connections_of(kind)), kind) for kind in types]


def _first_line(parser: argparse.ArgumentParser) -> str:
    return (parser.description or "").strip().partition("\n")[0].rstrip(".")


def help_of(parser: argparse.ArgumentParser, option: str) -> str:
    """The option's help, capitalized."""
    text = argparse_parts.help_of(parser, option)
    return text[:1].upper() + text[1:]
