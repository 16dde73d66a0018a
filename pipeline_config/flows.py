"""Which data the tasks of a pipeline read and write: as declared by each job beside its options, and as outlets."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_config import templates
from pipeline_config.compiler import instances
from pipeline_config.job_contract import Data, Flow, flow_of
from pipeline_config.model import Pipeline, Task, Value, Values
from pipeline_config.parsers import job_parser, own_parser
from pipeline_config.project import Project

_OPTION = re.compile(r"\{([a-z][a-z0-9-]*)\}")


@dataclass(frozen=True)
class TaskFlow:
    """What one task reads and writes, each datum once."""

    task: Task
    reads: tuple[Data, ...]
    writes: tuple[Data, ...]


def variables_of_options(pipeline: Pipeline) -> Iterator[tuple[Task, str, str]]:
    """Each option of a task whose value is just a variable: the task, the option, the variable."""
    for task in pipeline.tasks:
        for option, value in task.arguments.items():
            if match := _VARIABLE.fullmatch(str(value)):
                yield task, option, match[1]


_VARIABLE = re.compile(r"\{\{\s*var\.value\.(\w+)\s*\}\}")


def fits(option: str, variable: str) -> bool:
    """Whether the variable's name contains all words of the option's."""
    return set(option.upper().split("-")) <= set(variable.split("_"))


def is_known(data: Data) -> bool:
    """Whether its whole name is known before a run, without a template or another task's result."""
    return "{" not in data.name and "<" not in data.name


def flows(project: Project, pipeline: Pipeline) -> list[TaskFlow]:
    """The tasks of a checked pipeline that read or write something, in the file's order.

    In names, a variable appears as its own name, `S3_CURATED_STREAM_PATH/clicks`, so that data are the same in every
    environment; a param as its default, and an option that the task does not give as the job's own default.
    """
    result = []
    for task in pipeline.tasks:
        declared = list(_declared(project, task, pipeline.param_defaults))
        reads = [data for flow in declared for data in flow.reads]
        writes = [data for flow in declared for data in flow.writes]
        writes += [Data("asset", uri) for uri in task.outlets or ()]
        if reads or writes:
            result.append(TaskFlow(task, tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))))
    return result


def flow_of_run(project: Project, task: Task, options: Mapping[str, str]) -> Flow:
    """What the task's job declares, with the options of a run; without what they leave open."""
    own = _parser(project, task)
    if own is None:
        return Flow()
    texts = {name: value.rstrip("/") for name, value in options.items()}
    return Flow(*(tuple(filter(is_known, _filled(data, texts, own))) for data in flow_of(own)))


def _parser(project: Project, task: Task) -> argparse.ArgumentParser | None:
    """The parser of the task's job, None if it has none."""
    template = project.defaults.commands.get(task.command or "")
    parser = template and job_parser(template.module_of(task.job))
    return own_parser(parser, task.job) if isinstance(parser, argparse.ArgumentParser) else None


def _declared(project: Project, task: Task, params: Values) -> Iterator[Flow]:
    """What the task's job declares, once for each instance of the task."""
    own = _parser(project, task)
    if own is None:
        return
    declared = flow_of(own)
    variables = {name: name for name in project.catalog.variables}
    options = [option for data in (*declared.reads, *declared.writes) for option in _OPTION.findall(data.name)]
    mapped = {name: task.for_each[name] for name in dict.fromkeys(options) if name in task.for_each}
    # Only a run knows the earlier result that a task maps over: that task's id represents it.
    each: dict[str, list[Value]] = {
        name: values if isinstance(values, list) else [f"<{values}>"] for name, values in mapped.items()
    }
    for given in instances(task, each):
        texts = {name: _text(given[name], variables, params) for name in options if name in given}
        yield Flow(_filled(declared.reads, texts, own), _filled(declared.writes, texts, own))


def _filled(data: tuple[Data, ...], texts: dict[str, str], parser: argparse.ArgumentParser) -> tuple[Data, ...]:
    def value(option: re.Match[str]) -> str:
        name = option[1]
        return texts.get(name) or str(parser.get_default(name.replace("-", "_")) or option[0])

    return tuple(one._replace(name=_OPTION.sub(value, one.name)) for one in data)


def _text(value: Any, variables: dict[str, str], params: Values) -> str:
    """An argument's value, as far as it is known before a run."""
    text = str(value)
    if "{" in text:
        try:
            text = templates.render(text, variables, params)
        except Exception:  # noqa: BLE001 (a template may fail in any way, the check says how; it stands for itself)
            return text
    return text.rstrip("/")
