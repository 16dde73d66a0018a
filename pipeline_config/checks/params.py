"""Checks of a DAG's params against what reads them: the job's own parser, its time limit, the option's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2

from pipeline_config import argparse_parts, parsers, templates
from pipeline_config.checks.context import Context
from pipeline_config.checks.operators import TIME_LIMIT, time_limits
from pipeline_config.model import Task, Values
from pipeline_config.problem import Problem
from pipeline_config.schema import Schema, refusals

_PARAM = re.compile(r"\{\{\s*params\.(\w+)\s*\}\}")
RUN_TIME = "run-minutes"  # the option of a job that ends by itself
# A value of each kind that a schema accepts unless it says otherwise.
PROBES: dict[str, tuple[Any, ...]] = {"integer": (-1, 0), "number": (-1, 0, 1.5), "string": ("x",), "null": (None,)}


def _read(context: Context) -> Iterator[tuple[Task, str, str]]:
    """Each option whose value is just a declared param: the task, the option, the param."""
    for task in context.pipeline.tasks:
        for option, value in task.arguments.items():
            match = _PARAM.fullmatch(value) if isinstance(value, str) else None
            if match and match[1] in context.pipeline.params:
                yield task, option, match[1]


def bounds(context: Context) -> Iterator[Problem]:
    """Warnings: a value that the param's schema accepts but the job refuses."""
    for task, option, name in _read(context):
        template = context.project.defaults.commands.get(task.command or "")
        parser = parsers.job_parser(template.module_of(task.job)) if template else ""
        own = None if isinstance(parser, str) else parsers.own_parser(parser, task.job)
        if own is None or option not in argparse_parts.options(own):
            continue  # reported elsewhere
        for value in _probes(context.pipeline.params[name]):
            if why := parsers.refusal(own, option, str(value)):
                message = f"param {name} may be {value!r}, but {task.job} refuses it: {why}"
                yield context.pipeline.at("params", name).warning(message, "give the param the job's own limits")
                break


def _probes(schema: Schema) -> Iterator[Any]:
    """Values at the edges of what a schema takes."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    edges = [schema[key] for key in ("minimum", "maximum") if key in schema]
    for value in [*schema.get("enum", ()), *edges, *(probe for kind in types for probe in PROBES.get(kind, ()))]:
        if not refusals(schema, value):
            yield value


def crossed(context: Context) -> Iterator[Problem]:
    """Warnings: an option or a key of a conf gets another param although one has its name."""
    params = context.pipeline.params
    for task in context.pipeline.tasks:
        given: tuple[tuple[str, Values], ...] = (("arguments", task.arguments), ("conf", task.conf or {}))
        for key, option, value in ((key, *item) for key, values in given for item in values.items()):
            own, read = option.replace("-", "_"), _params_of(value)
            if own in params and len(read) == 1 and read <= params.keys() - {own}:
                message = f"{option} gets params.{next(iter(read))}, though there is a param {own}"
                yield task.at(key, option).warning(message, "swap them")


def _params_of(value: Any) -> set[str]:
    """The params that a template reads; none if it is invalid, which is reported elsewhere."""
    try:
        return set(templates.reads(value).params) if isinstance(value, str) else set()
    except jinja2.TemplateSyntaxError:
        return set()


def run_time(context: Context) -> Iterator[Problem]:
    """Warnings: a job may run for longer than its task's time limit."""
    for task, option, name in _read(context):
        schema = context.pipeline.params[name]
        minutes = [schema["default"], schema.get("maximum")] if option == RUN_TIME else []
        longest = max((value for value in minutes if isinstance(value, int | float)), default=0)
        limit = next(iter(time_limits(context, task)), None)
        if isinstance(limit, int | float) and longest >= limit:
            message = f"{name} may be {longest:g} minutes, but the task is killed after {limit:g}"
            hint = f"raise {TIME_LIMIT}, or lower the param"
            yield task.at("arguments", option).warning(message, hint)
