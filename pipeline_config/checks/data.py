"""Checks of the data between jobs: what one reads another writes, and a job is given the connections that it needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline_config.checks.context import Context
from pipeline_config.checks.operators import before
from pipeline_config.compiler import JOB_CONNECTION_TYPES, upstream
from pipeline_config.flows import TaskFlow, fits, is_known, variables_of_options
from pipeline_config.job_contract import Data
from pipeline_config.problem import Problem
from pipeline_config.project import Project, expand

OUTSIDE = "log"  # the web server writes it
ONE_WRITER = ("lake", "postgresql")
WORDS = {"topic": "topic", "lake": "lake table", "postgresql": "PostgreSQL table", "asset": "asset"}


def unwritten(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: data that a task reads and no task of any pipeline writes; of a project without any error."""
    every = [(context, task) for context in contexts for task in context.flows]
    written = {data for _, task in every for data in task.writes}
    for context, task in every:
        missing = [data for data in task.reads if is_known(data) and data not in written and data.kind != OUTSIDE]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            what = f"{WORDS[missing[0].kind]} {missing[0].name}{more}"
            message = f"task {task.task_id!r} reads what no task writes: {what}"
            path = ("tasks", [other["task_id"] for other in context.tasks].index(task.task_id))
            yield context.warning(path, message, "is a path or topic swapped?")


def writers(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: two tasks write the same table and share no pool, so that both may run at a time."""
    first: dict[Data, Writer] = {}
    warned: set[int] = set()
    for context in contexts:
        for flow in context.flows:
            index = [task["task_id"] for task in context.tasks].index(flow.task_id)
            writer = Writer(context, index, context.tasks[index].get("pool"))
            for data in flow.writes:
                other = first.setdefault(data, writer)
                same_pool = writer.pool and writer.pool == other.pool
                if data.kind not in ONE_WRITER or not is_known(data) or other is writer or same_pool:
                    continue
                wrong, right = (other, writer) if writer.pool and not other.pool else (writer, other)
                if id(wrong) not in warned:
                    warned.add(id(wrong))
                    task_id = wrong.context.tasks[wrong.task]["task_id"]
                    what = f"{WORDS[data.kind]} {data.name}, as {right.context.data['dag_id']} does"
                    hint = f"give it the pool {right.pool}" if right.pool else "give both the same pool"
                    yield wrong.context.warning(("tasks", wrong.task), f"task {task_id!r} writes {what}", hint)


class Writer(NamedTuple):
    """A task that writes a table: its DAG, its number there, and its pool."""

    context: Context
    task: int
    pool: str | None


def order(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: a DAG is triggered before the one that writes all that it reads."""
    reads = {context.data["dag_id"]: {data for task in context.flows for data in task.reads} for context in contexts}
    writes = {context.data["dag_id"]: {data for task in context.flows for data in task.writes} for context in contexts}
    for context in contexts:
        graph = upstream(context.data)
        triggered = {task["task_id"]: task["trigger_dag_id"] for task in context.tasks if "trigger_dag_id" in task}
        for index, task in enumerate(context.tasks):
            later = triggered.get(task["task_id"])
            for name in before(graph, task["task_id"]) if later else ():
                earlier = triggered.get(name)
                if earlier and reads.get(earlier) and reads[earlier] <= writes.get(later or "", set()):
                    message = f"{earlier} is triggered before {later}, which writes what it reads"
                    yield context.warning(("tasks", index, "trigger_dag_id"), message, "swap them")


def odd_variable(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: an option reads one variable in every other task and another one here."""
    given: dict[str, list[tuple[str, Context, int]]] = {}
    for context in contexts:
        for index, option, variable in variables_of_options(context.data):
            given.setdefault(option, []).append((variable, context, index))
    for option, places in given.items():
        usual, odd = _odd_one_out(option, Counter(variable for variable, *_ in places))
        for variable, context, index in places:
            if variable == odd:
                message = f"{option} reads {odd}, and {usual} in every other task"
                yield context.warning(("tasks", index, "arguments", option), message, f"write var.value.{usual}")


def _odd_one_out(option: str, counts: Counter[str]) -> tuple[str, str]:
    """The variable of all tasks but one, and that one's, of two the one whose name has the option's words; or ""."""
    if len(counts) != 2:
        return "", ""
    usual, odd = sorted(counts, key=lambda name: (counts[name], fits(option, name)), reverse=True)
    told_apart = counts[usual] > 1 or fits(option, usual) != fits(option, odd)
    return (usual, odd) if counts[odd] == 1 and told_apart else ("", "")


def job_connections(context: Context) -> Iterator[Problem]:
    """A job over SSH is given a connection of each type that its data need."""
    catalog = context.catalog("connections")
    declared = {catalog[name]["type"] for name in context.data.get("connections", []) if name in catalog}
    ids = [task["task_id"] for task in context.tasks]
    for kind, task in _needed(context).items():
        if kind not in declared:
            message = f"the job of task {task.task_id!r} needs a connection of type {kind}, and none is declared"
            known = ", ".join(sorted(name for name, entry in catalog.items() if entry["type"] == kind))
            yield context.problem(("tasks", ids.index(task.task_id)), message, f"add it to connections: {known}")


def unneeded_connections(context: Context) -> Iterator[Problem]:
    """Each connection for a job over SSH is needed by one. Of a file with no other error."""
    catalog = context.catalog("connections")
    needed = _needed(context, anywhere=True)
    for index, name in enumerate(context.data.get("connections", [])):
        its_type = catalog[name]["type"]
        if needed and its_type in JOB_CONNECTION_TYPES and its_type not in needed:
            message = f"connection {name} is declared, but no job needs it"
            yield context.problem(("connections", index), message, "remove it")


def _needed(context: Context, *, anywhere: bool = False) -> dict[str, TaskFlow]:
    """The types of connections that the jobs over SSH need, each with a task.

    `anywhere`: wherever the lake may lie, for an environment's paths decide about no pipeline.
    """
    remote = {task["task_id"] for task in context.tasks if context.operator(task).get("connection_type") == "ssh"}
    tasks = [task for task in context.flows if task.task_id in remote]
    return {kind: task for task in tasks for kind in connection_types(context.project, task, anywhere=anywhere)}


def connection_types(project: Project, task: TaskFlow, *, anywhere: bool = False) -> set[str]:
    """The types of the connections that a job needs for its data, in any environment; or wherever the lake may lie."""
    data = [*task.reads, *task.writes]
    types = {"postgres"} if any(one.kind == "postgresql" for one in data) else set()
    if any(anywhere or _is_on_s3(project, one) for one in data if one.kind == "lake"):
        types.add("aws")
    return types


def _is_on_s3(project: Project, data: Data) -> bool:
    """Whether the root folder of a lake table, a variable, is on S3 in any environment."""
    variable = re.match(r"\w*", data.name)
    name = variable[0] if variable else ""
    values = [document.data.get("variables", {}).get(name, "") for document in project.environments.values()]
    return any(expand(value).startswith("s3a:") for value in [data.name, *values])
