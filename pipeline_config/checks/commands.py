"""Checks of what a task runs: its command template, its job, and the job's own parser asked for the arguments."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from pipeline_config import parsers, templates
from pipeline_config.checks.context import FORMS, Context
from pipeline_config.compiler import argv, instances, option_words
from pipeline_config.errors import RenderError
from pipeline_config.problem import Problem
from pipeline_config.reader import KeyPath
from pipeline_config.schema import did_you_mean

MAX_COMBINATIONS = 1000  # of a mapped task; Airflow's own limit (max_map_length) is 1024


TAKES = {"ssh": "shell", "docker": "argv"}  # by the type of an operator's connection
WORDS = {"shell": "a shell command", "argv": "a list of words"}


def commands(context: Context) -> Iterator[Problem]:
    """Each command template exists, and the job takes the arguments that it is given."""
    for index, task in enumerate(context.tasks):
        if "command" not in task:
            continue
        if task["command"] not in context.commands:
            hint = did_you_mean(task["command"], list(context.commands))
            path: KeyPath = ("tasks", index, "command")
            yield context.problem(path, f"no command template is called {task['command']!r}", hint)
            continue
        if task["command"] in context.broken_commands:
            continue  # which is said there
        template = context.commands[task["command"]]
        kind, wanted = context.operator(task).get("connection_type"), "argv" if "argv" in template else "shell"
        if kind in TAKES and TAKES[kind] != wanted:
            fitting = [name for name, other in context.commands.items() if TAKES[kind] in other]
            message = f"{task['operator']} runs {WORDS[TAKES[kind]]}, and {task['command']} is {WORDS[wanted]}"
            yield context.problem(("tasks", index, "command"), message, f"take one of: {', '.join(fitting)}")
            continue
        yield from _job_arguments(context, index, task, template)


def _job_arguments(context: Context, index: int, task: dict[str, Any], template: dict[str, Any]) -> Iterator[Problem]:
    job = task["job"]
    parser = parsers.job_parser(template["module"].replace("{job}", job))
    if isinstance(parser, str):
        yield context.problem(("tasks", index, "job"), f"job {job!r}: {parser}")
        return
    own = parsers.own_parser(parser, job)
    if own is None:
        hint = did_you_mean(job, list(parsers.modes(parser)))
        yield context.problem(("tasks", index, "job"), f"there is no job {job!r}", hint)
        return
    options = parsers.options(own)
    unknown = [(key, name) for key in ("arguments", "for_each") for name in task.get(key, {}) if name not in options]
    for key, name in unknown:
        hint = did_you_mean(name, options)
        yield context.document.problem(("tasks", index, key, name), f"{job} has no option --{name}", hint)
    if not unknown:
        yield from _refused(context, index, task, template, parser, options)


def _refused(
    context: Context,
    index: int,
    task: dict[str, Any],
    template: dict[str, Any],
    parser: argparse.ArgumentParser,
    options: list[str],
) -> Iterator[Problem]:
    """What the parser says of the arguments, with the catalog's examples and the params' defaults filled in."""
    each = {name: values for name, values in task.get("for_each", {}).items() if isinstance(values, list)}
    for given in itertools.islice(instances(task, each), MAX_COMBINATIONS):
        known = dict(_known(context, given))
        for name, value in known.items():
            yield from _form(context, index, name, given[name], value)
        arguments = {name: known.get(name, "unknown") for name in given}
        words = argv(template["argv"], task["job"], arguments) if "argv" in template else option_words(arguments)
        try:
            parsers.parse(parser, words, given.keys() - known.keys())
        except parsers.RefusedError as error:
            named = next((name for name in arguments if f"--{name}" in str(error).split(":")[0].split()), "")
            key = "for_each" if named in each else "arguments"
            path = ("tasks", index, key, named) if named else ("tasks", index, key)
            hint = f"it takes: {', '.join(options)}"
            yield context.document.problem(path, f"{task['job']} refuses its arguments: {error}", hint)
            return


def _form(context: Context, index: int, name: str, template: Any, value: Any) -> Iterator[Problem]:
    """An argument that reads one variable has the form of that variable's type: nothing stands around it by mistake."""
    read = [*templates.reads(template).variables] if isinstance(template, str) else []
    entry = context.catalog("variables").get(read[0]) if len(read) == 1 else None
    if entry:
        kind = entry["type"]
        form, hint = FORMS[kind]
        if form.fullmatch(entry["example"]) and not form.fullmatch(value):
            path: KeyPath = ("tasks", index, "arguments", name)
            yield context.problem(path, f"{name} would be {value!r}, which is not valid for the type {kind}", hint)


def _known(context: Context, given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments whose values are known before a run, as a run could see them."""
    for name, value in given.items():
        try:
            yield name, example(context, value)
        except RenderError:  # `declared.rendered` says the former
            continue


def example(context: Context, value: Any, fill: Callable[..., Any] = templates.render) -> Any:
    """`value` as a run could see it: variables as in the catalog's examples, params at their defaults.

    Raises RenderError, and UnknownError for what only a run knows, or what is not declared.
    """
    if isinstance(value, list):
        return [example(context, item, fill) for item in value]
    if isinstance(value, dict):
        return {key: example(context, item, fill) for key, item in value.items()}
    if not isinstance(value, str) or "{" not in value:
        return value
    if (value, fill) not in context.examples:
        context.examples[value, fill] = _filled(context, value, fill)
    result = context.examples[value, fill]
    if isinstance(result, RenderError):
        raise result
    return result


def _filled(context: Context, text: str, fill: Callable[..., Any]) -> Any:
    variables = {name: entry["example"] for name, entry in context.catalog("variables").items()}
    params = {name: param["default"] for name, param in context.data.get("params", {}).items()}
    try:
        return fill(text, variables, params)
    except RenderError as error:
        return error
