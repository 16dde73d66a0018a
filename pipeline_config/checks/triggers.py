"""Checks of tasks that trigger other DAGs: the target exists, takes the conf, and does not trigger back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline_config import templates
from pipeline_config.checks.commands import example
from pipeline_config.checks.context import Context
from pipeline_config.checks.tasks import find_cycle
from pipeline_config.errors import RenderError
from pipeline_config.problem import Problem
from pipeline_config.reader import KeyPath
from pipeline_config.schema import did_you_mean, refusals


def triggers(context: Context) -> Iterator[Problem]:
    """Each target is a DAG of these files, and its params take what the task sends."""
    known = context.index.by_dag_id
    for index, task in enumerate(context.tasks):
        target = task.get("trigger_dag_id")
        if target is None:
            continue
        if target not in known:
            path: KeyPath = ("tasks", index, "trigger_dag_id")
            yield context.problem(path, f"no DAG is called {target!r}", did_you_mean(target, list(known)))
        elif not known[target][0].problems:
            yield from _conf(context, index, task, known[target][0].data.get("params", {}))


def _conf(context: Context, index: int, task: dict[str, Any], params: dict[str, Any]) -> Iterator[Problem]:
    target = task["trigger_dag_id"]
    for name, value in task.get("conf", {}).items():
        path: KeyPath = ("tasks", index, "conf", name)
        if name not in params:
            hint = did_you_mean(name, list(params))
            yield context.document.problem(path, f"{target} has no param {name!r}", hint)
            continue
        try:
            rendered = example(context, value, templates.value)
        except RenderError:
            continue  # `declared.rendered` says the former
        for message in refusals(params[name], rendered):
            yield context.problem(path, f"{target} refuses {name}: {message}")


def cycles(context: Context) -> Iterator[Problem]:
    """No DAG triggers itself, at once or through others."""
    own = context.data["dag_id"]
    cycle = find_cycle(context.index.triggers, [own])
    if own in cycle:
        index = next(number for number, task in enumerate(context.tasks) if task.get("trigger_dag_id") == cycle[1])
        path: KeyPath = ("tasks", index, "trigger_dag_id")
        yield context.problem(path, f"DAGs trigger each other: {' → '.join(cycle)}", "this would never end")
