"""`graph`: flows as Mermaid. The tasks of one DAG; or all DAGs with their triggers and the data between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from typing import Any

from pipeline_config.compiler import MARKER
from pipeline_config.flows import flows
from pipeline_config.job_contract import Data
from pipeline_config.model import Group, Pipeline, Task
from pipeline_config.project import Project
from pipeline_config.schedules import assets, clock

MAX_NAMES = 8  # of data in one node
HEADINGS = {"log": "log", "topic": "Kafka", "postgresql": "PostgreSQL", "asset": "asset"}
# What Mermaid draws around a label.
_BOX, _FLAG, _ROUND, _DOUBLE, _CYLINDER = ("[", "]"), (">", "]"), ("([", "])"), ("[[", "]]"), ("[(", ")]")
_SHAPES = {"log": _CYLINDER, "topic": _DOUBLE, "lake": _CYLINDER, "postgresql": _CYLINDER, "asset": _FLAG}


def graph(project: Project, dag_id: str | None = None) -> str:
    """The Mermaid text of a checked project, or of one DAG of it. Raises CommandError when there is no such DAG."""
    if dag_id is None:
        lines = [*_dags(project), *_data(project), *_triggers(project)]
    else:
        pipeline = project.pipeline(dag_id)
        lines = [*_tasks(pipeline), *_dependencies(pipeline)]
    return "\n".join(["flowchart LR", *(f"  {line}" for line in lines)])


def _dags(project: Project) -> Iterator[str]:
    for pipeline in project.pipelines:
        cron = clock(pipeline.schedule)
        zone = pipeline.timezone or project.defaults.dag.timezone
        when = " ".join(filter(None, (cron, cron and zone)))
        yield _node(_id("dag", pipeline.dag_id), [pipeline.dag_id, when] if when else [pipeline.dag_id], _BOX)


def _data(project: Project) -> Iterator[str]:
    """The data as nodes with arrows; data that the same DAGs read and write are one node."""
    readers: dict[Data, list[str]] = {}
    writers: dict[Data, list[str]] = {}
    for pipeline in project.pipelines:
        for _, asset in assets(pipeline.schedule):
            readers.setdefault(Data("asset", asset), []).append(pipeline.dag_id)
        for task in flows(project, pipeline):
            for data in task.reads:
                readers.setdefault(data, []).append(pipeline.dag_id)
            for data in task.writes:
                writers.setdefault(data, []).append(pipeline.dag_id)
    together: dict[tuple[Any, ...], list[Data]] = {}
    for data in {**readers, **writers}:
        ends = [tuple(dict.fromkeys(who.get(data, []))) for who in (writers, readers)]
        together.setdefault((data.kind, _heading(data), *ends), []).append(data)
    for (kind, heading, written_by, read_by), members in together.items():
        node = _id(kind, members[0].name)
        yield _node(node, [heading, *_names(members)], _SHAPES[kind])
        yield from (f"{_id('dag', dag_id)} --> {node}" for dag_id in written_by)
        yield from (f"{node} --> {_id('dag', dag_id)}" for dag_id in read_by)


def _heading(data: Data) -> str:
    """For a table of the lake, the folder that contains it."""
    return HEADINGS.get(data.kind) or data.name.rpartition("/")[0]


def _names(members: list[Data]) -> list[str]:
    names = [data.name.rpartition("/")[2] if data.kind == "lake" else data.name for data in members]
    return names if len(names) <= MAX_NAMES else [*names[:MAX_NAMES], f"and {len(names) - MAX_NAMES} more"]


def _triggers(project: Project) -> Iterator[str]:
    """A dotted arrow from each DAG to those that it triggers, with the step number."""
    for pipeline in project.pipelines:
        targets = {task.task_id: task.trigger_dag_id for task in pipeline.tasks if task.trigger_dag_id is not None}
        for number, together in enumerate(_steps(pipeline.upstream, targets.keys()), start=1):
            for task_id in together:
                yield f"{_id('dag', pipeline.dag_id)} -. {number} .-> {_id('dag', targets[task_id])}"


def _steps(waits_for: dict[str, list[str]], wanted: Iterable[str]) -> Iterator[list[str]]:
    """The wanted tasks in the order in which they can start, parallel ones together."""
    sorter = TopologicalSorter(waits_for)
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        if together := [name for name in wanted if name in ready]:
            yield together


def _tasks(pipeline: Pipeline, group: str | None = None) -> Iterator[str]:
    """The tasks of a group, or those of none, as nodes, and the groups in it as boxes."""
    yield from (_task(task) for task in pipeline.tasks if task.group == group)
    for name, inner in pipeline.task_groups.items():
        if inner.group == group:
            yield f"subgraph {_id('group', name)}[{_label([name])}]"
            yield from (f"  {line}" for line in _tasks(pipeline, name))
            yield "end"


def _task(task: Task) -> str:
    """What a task runs is below its name; mapped tasks have a double border."""
    node = _id("task", task.task_id)
    if task.operator == MARKER:
        return _node(node, [task.task_id], _ROUND)
    operator = task.operator.rpartition(".")[2] if task.is_of_class else None
    runs = [name for name in (task.job, task.trigger_dag_id, operator) if name]
    each = [f"for each {', '.join(task.for_each)}"] if task.for_each else []
    return _node(node, [task.task_id, *runs, *each], _DOUBLE if each else _BOX)


def _dependencies(pipeline: Pipeline) -> Iterator[str]:
    """An arrow for each dependency, of a task or of a group."""
    groups = pipeline.task_groups
    waiting: dict[str, Group | Task] = {_id("group", name): group for name, group in groups.items()}
    waiting |= {_id("task", task.task_id): task for task in pipeline.tasks}
    for node, one in waiting.items():
        for name in one.dependencies:
            yield f"{_id('group' if name in groups else 'task', name)} --> {node}"


def _id(kind: str, name: str) -> str:
    """A valid Mermaid id: no reserved word (`end`), only letters, digits and _."""
    return f"{kind}_" + re.sub(r"[^A-Za-z0-9_]", lambda letter: f"_{ord(letter[0]):x}_", name)


def _node(node: str, lines: list[str], shape: tuple[str, str]) -> str:
    before, after = shape
    return f"{node}{before}{_label(lines)}{after}"


def _label(lines: list[str]) -> str:
    """Lines of plain text; what is special in Mermaid or HTML becomes an entity."""
    return '"' + "<br>".join(_ENTITY.sub(lambda letter: f"#{ord(letter[0])};", line) for line in lines) + '"'


_ENTITY = re.compile(r"""[#"<>&`\\]""")
