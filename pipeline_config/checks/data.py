"""Checks of the data between jobs: what one reads another writes, and a job gets the connections that it needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline_config.checks.context import Context
from pipeline_config.checks.operators import before
from pipeline_config.connection_types import CONNECTION_TYPES, FOR_JOBS, is_remote_shell
from pipeline_config.flows import TaskFlow, fits, is_known, variables_of_options
from pipeline_config.job_contract import Data
from pipeline_config.model import Task
from pipeline_config.problem import Problem
from pipeline_config.project import Project, expand

OUTSIDE = "log"  # the web server writes it
ONE_WRITER = ("lake", "postgresql")
WORDS = {"topic": "topic", "lake": "lake table", "postgresql": "PostgreSQL table", "asset": "asset"}


def unwritten(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: data that a task reads and no task of any pipeline writes; of a project without any error."""
    flows = [flow for context in contexts for flow in context.flows]
    written = {data for flow in flows for data in flow.writes}
    for flow in flows:
        missing = [data for data in flow.reads if is_known(data) and data not in written and data.kind != OUTSIDE]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            what = f"{WORDS[missing[0].kind]} {missing[0].name}{more}"
            message = f"task {flow.task.task_id!r} reads what no task writes: {what}"
            yield flow.task.place.warning(message, "is a path or topic swapped?")


def writers(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: two tasks write the same table without a common pool, so both may run at once."""
    first: dict[Data, tuple[str, Task]] = {}
    warned: set[Task] = set()
    for dag_id, flow in ((context.pipeline.dag_id, flow) for context in contexts for flow in context.flows):
        task = flow.task
        for data in flow.writes:
            other_dag_id, other = first.setdefault(data, (dag_id, task))
            same_pool = task.pool and task.pool == other.pool
            if data.kind not in ONE_WRITER or not is_known(data) or other is task or same_pool:
                continue
            is_other = bool(task.pool and not other.pool)
            wrong, right, right_dag_id = (other, task, dag_id) if is_other else (task, other, other_dag_id)
            if wrong not in warned:
                warned.add(wrong)
                message = f"task {wrong.task_id!r} writes {WORDS[data.kind]} {data.name}, as {right_dag_id} does"
                hint = f"give it the pool {right.pool}" if right.pool else "give both the same pool"
                yield wrong.place.warning(message, hint)


def order(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: a DAG is triggered before the one that writes what it reads."""
    flows = {context.pipeline.dag_id: context.flows for context in contexts}
    reads = {dag_id: {data for flow in of_dag for data in flow.reads} for dag_id, of_dag in flows.items()}
    writes = {dag_id: {data for flow in of_dag for data in flow.writes} for dag_id, of_dag in flows.items()}
    for pipeline in (context.pipeline for context in contexts):
        triggered = {task.task_id: task.trigger_dag_id for task in pipeline.tasks}
        for task in pipeline.tasks:
            later = task.trigger_dag_id
            for name in before(pipeline.upstream, task.task_id) if later else ():
                earlier = triggered.get(name)
                if earlier and reads.get(earlier) and reads[earlier] <= writes.get(later or "", set()):
                    message = f"{earlier} is triggered before {later}, which writes what it reads"
                    yield task.at("trigger_dag_id").warning(message, "swap them")


def odd_variable(contexts: Sequence[Context]) -> Iterator[Problem]:
    """Warnings: an option reads one variable in every other task but a different one here."""
    given: dict[str, list[tuple[str, Task]]] = {}
    for context in contexts:
        for task, option, variable in variables_of_options(context.pipeline):
            given.setdefault(option, []).append((variable, task))
    for option, places in given.items():
        usual, odd = _odd_one_out(option, Counter(variable for variable, _ in places))
        for task in (task for variable, task in places if variable == odd):
            message = f"{option} reads {odd}, but {usual} in every other task"
            yield task.at("arguments", option).warning(message, f"write var.value.{usual}")


def _odd_one_out(option: str, counts: Counter[str]) -> tuple[str, str]:
    """The variable of all tasks but one, and that one's, of two the one whose name has the option's words; or ""."""
    if len(counts) != 2:
        return "", ""
    usual, odd = sorted(counts, key=lambda name: (counts[name], fits(option, name)), reverse=True)
    told_apart = counts[usual] > 1 or fits(option, usual) != fits(option, odd)
    return (usual, odd) if counts[odd] == 1 and told_apart else ("", "")


def job_connections(context: Context) -> Iterator[Problem]:
    """A job over SSH gets a connection of each type that its data need."""
    catalog = context.project.catalog
    declared = {catalog.connections[name].type for name in context.pipeline.connections if name in catalog.connections}
    for kind, task in _needed(context).items():
        if kind not in declared:
            message = f"the job of task {task.task_id!r} needs a connection of type {kind}, but none is declared"
            known = ", ".join(sorted(catalog.connections_of(kind)))
            yield task.place.problem(message, f"add it to connections: {known}")


def unneeded_connections(context: Context) -> Iterator[Problem]:
    """Each connection for a job over SSH is needed by one. Of a file with no other error."""
    needed = _needed(context, anywhere=True)
    for index, name in enumerate(context.pipeline.connections):
        its_type = context.project.catalog.connections[name].type
        if needed and its_type in FOR_JOBS and its_type not in needed:
            message = f"connection {name} is declared, but no job needs it"
            yield context.pipeline.at("connections", index).problem(message, "remove it")


def _needed(context: Context, *, anywhere: bool = False) -> dict[str, Task]:
    """The types of connections that the jobs over SSH need, each with a task.

    `anywhere`: wherever the lake may be, since an environment's paths must not decide about a pipeline.
    """
    remote = [flow for flow in context.flows if is_remote_shell(context.connection_type(flow.task))]
    return {kind: flow.task for flow in remote for kind in connection_types(context.project, flow, anywhere=anywhere)}


def connection_types(project: Project, flow: TaskFlow, *, anywhere: bool = False) -> set[str]:
    """The types of the connections that a job needs for its data, in any environment; or wherever the lake may be."""
    data = [*flow.reads, *flow.writes]
    kinds = {one.kind for one in data if one.kind != "lake" or anywhere or _is_on_s3(project, one)}
    return {name for name in FOR_JOBS if CONNECTION_TYPES[name].holds in kinds}


def _is_on_s3(project: Project, data: Data) -> bool:
    """Whether the root folder of a lake table, a variable, is on S3 in any environment."""
    variable = re.match(r"\w*", data.name)
    name = variable[0] if variable else ""
    values = [environment.variables.get(name, "") for environment in project.environments.values()]
    return any(expand(value).startswith("s3a:") for value in [data.name, *values])
