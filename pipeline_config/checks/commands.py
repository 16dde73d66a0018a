"""Checks of what a task runs: its command template, its job, and the arguments against the job's own parser."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from pipeline_config import argparse_parts, parsers, templates
from pipeline_config.checks.context import FORMS, Context
from pipeline_config.compiler import argv, instances, option_words
from pipeline_config.errors import RenderError
from pipeline_config.model import Command, Task, Value, Values
from pipeline_config.problem import Problem
from pipeline_config.schema import did_you_mean

MAX_COMBINATIONS = 1000  # of a mapped task; Airflow's own limit (max_map_length) is 1024


WORDS = {"shell": "a shell command", "argv": "a list of words"}


def commands(context: Context) -> Iterator[Problem]:
    """Each command template exists, and the job accepts its arguments."""
    known = context.project.defaults.commands
    for task in context.pipeline.tasks:
        if task.command is None:
            continue
        if task.command not in known:
            hint = did_you_mean(task.command, list(known))
            yield task.at("command").problem(f"no command template is called {task.command!r}", hint)
            continue
        if task.command in context.broken_commands:
            continue  # which is reported there
        template = known[task.command]
        wanted = context.kind_of_command(task, template)
        if wanted != template.kind:
            fitting = [name for name, other in known.items() if other.kind == wanted]
            message = f"{task.operator} runs {WORDS[wanted]}, but {task.command} is {WORDS[template.kind]}"
            yield task.at("command").problem(message, f"use one of: {', '.join(fitting)}")
            continue
        yield from _job_arguments(context, task, template)


def _job_arguments(context: Context, task: Task, template: Command) -> Iterator[Problem]:
    job = task.job
    parser = parsers.job_parser(template.module_of(job))
    if isinstance(parser, str):
        near = did_you_mean(job, list(parsers.jobs(template.module)))
        yield task.at("job").problem(f"job {job!r}: {parser}", near if near.startswith("did") else "")
        return
    own = parsers.own_parser(parser, job)
    if own is None:
        hint = did_you_mean(job, list(argparse_parts.modes(parser)))
        yield task.at("job").problem(f"there is no job {job!r}", hint)
        return
    options = argparse_parts.options(own)
    given: tuple[tuple[str, Values], ...] = (("arguments", task.arguments), ("for_each", task.for_each))
    unknown = [(key, name) for key, values in given for name in values if name not in options]
    for key, name in unknown:
        hint = did_you_mean(name, options)
        yield task.at(key, name).problem(f"{job} has no option --{name}", hint, at_key=True)
    if not unknown:
        yield from _refused(context, task, template, parser)


def _refused(context: Context, task: Task, template: Command, parser: argparse.ArgumentParser) -> Iterator[Problem]:
    """The parser's verdict on the arguments, with the catalog's examples and the params' defaults filled in."""
    each = {name: values for name, values in task.for_each.items() if isinstance(values, list)}
    for given in itertools.islice(instances(task, each), MAX_COMBINATIONS):
        known = dict(_known(context, given))
        for name, value in known.items():
            yield from _form(context, task, name, given[name], value)
        arguments = {name: known.get(name, "unknown") for name in given}
        words = option_words(arguments) if template.argv is None else argv(template.argv, task.job, arguments)
        try:
            parsers.parse(parser, words, given.keys() - known.keys())
        except parsers.RefusedError as error:
            argument, _, why = str(error).partition(": ")
            named = next((name for name in arguments if f"--{name}" in argument.split()), "")
            if named:
                place = task.at("for_each" if named in each else "arguments", named)
                yield place.problem(f"{task.job} refuses {named}: {why}", at_key=True)
            else:
                yield task.at("arguments").problem(f"{task.job} refuses its arguments: {error}", at_key=True)
            return


def _form(context: Context, task: Task, name: str, template: Value, value: Any) -> Iterator[Problem]:
    """An argument that reads one variable has the form of that variable's type: no stray text around it.

    A constant has the form of the variable that other tasks pass to the option.
    """
    is_constant = "{" not in str(template)
    read = [] if is_constant else [*templates.reads(str(template)).variables]
    usual = context.index.variables.get(name, "")
    entry = context.project.catalog.variables.get(read[0] if len(read) == 1 else usual if is_constant else "")
    if entry is None:
        return
    form, hint = FORMS[entry.type]
    if form.fullmatch(entry.example) and not form.fullmatch(str(value)):
        elsewhere = f", as {usual} in other tasks" if is_constant else ""
        message = f"{name} would be {value!r}, which is not valid for the type {entry.type}{elsewhere}"
        yield task.at("arguments", name).problem(message, hint)


def _known(context: Context, given: Values) -> Iterator[tuple[str, Any]]:
    """The arguments whose values are known before a run, as a run could see them."""
    for name, value in given.items():
        if isinstance(value, str) and any(templates.not_filled_in(value, context.pipeline.params)):
            continue  # `declared.shell_variables` says so
        try:
            yield name, example(context, value)
        except RenderError:  # `declared.rendered` says the former
            continue


def example(context: Context, value: Any, fill: Callable[..., Any] = templates.render) -> Any:
    """`value` as a run could see it: variables as in the catalog's examples, params at their defaults.

    Raises RenderError, and RunValueError for what only a run knows, or what is not declared.
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
    try:
        return fill(text, context.project.catalog.examples, context.pipeline.param_defaults)
    except RenderError as error:
        return error
