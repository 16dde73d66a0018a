"""Checks of tasks that trigger other DAGs: the target exists, accepts the conf, and does not trigger back."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_config import templates
from pipeline_config.checks.commands import example
from pipeline_config.checks.context import Context
from pipeline_config.checks.tasks import find_cycle
from pipeline_config.errors import RenderError
from pipeline_config.model import Pipeline, Task
from pipeline_config.problem import Problem
from pipeline_config.schema import did_you_mean, refusals


def triggers(context: Context) -> Iterator[Problem]:
    """Each target is a DAG of these files, and its params accept what the task sends."""
    index = context.index
    for task in context.pipeline.tasks:
        target = task.trigger_dag_id
        if target is None:
            continue
        if target not in index.files:
            hint = did_you_mean(target, list(index.files))
            yield task.at("trigger_dag_id").problem(f"no DAG is called {target!r}", hint)
        elif target in index.pipelines and (context.seen is None or target in context.seen):
            yield from _conf(context, task, index.pipelines[target])


def _conf(context: Context, task: Task, target: Pipeline) -> Iterator[Problem]:
    for name, value in (task.conf or {}).items():
        place = task.at("conf", name)
        if name not in target.params:
            hint = did_you_mean(name, list(target.params))
            yield place.problem(f"{target.dag_id} has no param {name!r}", hint, at_key=True)
            continue
        try:
            rendered = example(context, value, templates.value)
        except RenderError:
            continue  # `declared.rendered` says the former
        for message in refusals(target.params[name], rendered):
            yield place.problem(f"{target.dag_id} refuses {name}: {message}")


def cycles(context: Context) -> Iterator[Problem]:
    """No DAG triggers itself, directly or through others."""
    own = context.pipeline.dag_id
    cycle = find_cycle(context.index.triggers, [own])
    if own in cycle:
        task = next(task for task in context.pipeline.tasks if task.trigger_dag_id == cycle[1])
        message = f"DAGs trigger each other: {' → '.join(cycle)}"
        yield task.at("trigger_dag_id").problem(message, "the runs would never end")
