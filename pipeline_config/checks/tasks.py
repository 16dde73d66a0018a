"""Checks of the graph of tasks: names, dependencies, groups, cycles, and that everything is connected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline_config.checks.context import Context
from pipeline_config.compiler import MARKER
from pipeline_config.model import Group, Pipeline, Task
from pipeline_config.problem import Problem
from pipeline_config.schema import did_you_mean

ALONE = f"let all wait for a first task `start`, an {MARKER}: dependencies: [start]; or give it its own file"
LONGEST_ID = 250  # Airflow's limit


def names(context: Context) -> Iterator[Problem]:
    """Each task and group has its own name, and each named dependency and group exists."""
    pipeline = context.pipeline
    ids = [task.task_id for task in pipeline.tasks]
    groups = pipeline.task_groups
    for index, task in enumerate(pipeline.tasks):
        if task.task_id in ids[:index]:
            yield task.at("task_id").problem(f"task_id {task.task_id!r} is duplicated", "give each task its own")
        if task.task_id in groups:
            yield task.at("task_id").problem(f"{task.task_id!r} is a task group too", "rename one")
        if task.group and task.group not in groups:
            hint = did_you_mean(task.group, list(groups)) or "declare it under task_groups:"
            yield task.at("group").problem(f"no task group is called {task.group!r}", hint)
        yield from _unknown(task, [*ids, *groups])
        if len(pipeline.full_id(task)) > LONGEST_ID:
            message = f"with its groups around it the task_id has more than {LONGEST_ID} characters"
            yield task.at("task_id").problem(message, "shorten a name")
    used = {name for task in pipeline.tasks for name in pipeline.groups_around(task)}
    for name, group in groups.items():
        yield from _around(pipeline, name, group)
        if name not in used:
            yield group.place.problem(f"no task is in group {name!r}", "remove it", at_key=True)
        yield from _unknown(group, [*ids, *groups])


def _around(pipeline: Pipeline, name: str, group: Group) -> Iterator[Problem]:
    """The group around a group exists, and is not inside it."""
    groups = pipeline.task_groups
    if group.group and group.group not in groups:
        hint = did_you_mean(group.group, [other for other in groups if other != name]) or "declare it too"
        yield group.at("group").problem(f"no task group is called {group.group!r}", hint)
    if name in (around := pipeline.groups_around(group)):
        circle = " → ".join([name, *around[: around.index(name) + 1]])
        yield group.at("group").problem(f"groups contain each other: {circle}", "remove one of the two keys")


def _unknown(one: Task | Group, known: list[str]) -> Iterator[Problem]:
    for number, name in enumerate(one.dependencies):
        if name not in known:
            yield one.at("dependencies", number).problem(f"no task is called {name!r}", did_you_mean(name, known))


def connected(context: Context) -> Iterator[Problem]:
    """No cycle; if the first task is a marker, all others wait for it; likewise for the last one."""
    graph = context.pipeline.upstream
    tasks = {task.task_id: task for task in context.pipeline.tasks}
    named = {name for names in graph.values() for name in names}
    if len(graph) < len(context.pipeline.tasks) or not named <= graph.keys():
        return  # `names` reports missing and duplicate ones
    if cycle := find_cycle(graph):
        message = f"tasks wait for each other: {' → '.join(cycle)}"
        yield tasks[cycle[0]].at("dependencies").problem(message, "remove one of the dependencies")
        return
    first = [name for name in tasks if not graph[name]]
    last = [name for name in tasks if name not in named]
    markers = [name for name, task in tasks.items() if task.operator == MARKER]
    start = next((name for name in markers if name in first and name in named), None)
    end = next((name for name in markers if name in last and graph[name]), None)
    for name in first if start else ():
        if name != start:
            yield tasks[name].place.problem(f"task {name!r} is not reachable from {start!r}", _wait_for(start))
    for name in last if end else ():
        if name != end:
            hint = f"name it in the dependencies of {end!r}, or of a task before it"
            yield tasks[name].place.problem(f"{end!r} does not wait for task {name!r}", hint)
    if len(tasks) > 1:
        yield from _without_end(tasks, markers, end)
        yield from _alone(tasks, markers, set(first) & set(last))


def _without_end(tasks: Mapping[str, Task], markers: Sequence[str], end: str | None) -> Iterator[Problem]:
    start, *_, last = tasks
    if start in markers and end is None:
        message = f"the pipeline starts with {start!r} and has no such task at its end: is the file truncated?"
        hint = f"add a task `end`, an {MARKER}, that waits for the last ones"
        yield tasks[last].place.problem(message, hint)


def _alone(tasks: Mapping[str, Task], markers: Sequence[str], alone: set[str]) -> Iterator[Problem]:
    """The tasks that are connected to no other; the marker for which they should wait only if there is no other."""
    marker = next(iter(markers), "")
    hint = _wait_for(marker) if marker and alone != {marker} else ALONE
    for name in alone - {marker} or alone:
        yield tasks[name].place.problem(f"task {name!r} is connected to no other task", hint)


def _wait_for(marker: str | None) -> str:
    return f"add it: dependencies: [{marker}]"


# Rules by which a task runs, and succeeds, although a task before it failed.
GREEN_ANYWAY = {"all_done", "always", "one_done", "one_success", "all_done_min_one_success", "all_failed", "one_failed"}


def hides_failures(context: Context) -> Iterator[Problem]:
    """A warning: the last task decides the run's state, and by its rule it succeeds whatever failed before it."""
    graph = context.pipeline.upstream
    downstream = {name for names in graph.values() for name in names}
    for task in context.pipeline.tasks:
        rule = task.trigger_rule
        if rule in GREEN_ANYWAY and graph[task.task_id] and task.task_id not in downstream:
            message = (
                f"the last task decides the state of the run: with {rule} it succeeds even if a task before it failed"
            )
            hint = "add a last task without a trigger_rule that waits for all"
            yield task.at("trigger_rule").warning(message, hint)


def find_cycle(graph: Mapping[str, Sequence[str]], roots: Iterable[str] | None = None) -> list[str]:
    """A cycle reachable from `roots` (default: all nodes): its nodes, with the first repeated at the end; or empty."""
    done: set[str] = set()
    trail: dict[str, None] = {}
    for root in graph if roots is None else roots:
        stack = [(root, iter(graph[root]))]
        while stack:
            node, rest = stack[-1]
            trail[node] = None
            following = next((other for other in rest if other in graph and other not in done), None)
            if following is None:
                done.add(node)
                trail.pop(node)
                stack.pop()
            elif following in trail:
                nodes = list(trail)
                return [*nodes[nodes.index(following) :], following]
            else:
                stack.append((following, iter(graph[following])))
    return []
