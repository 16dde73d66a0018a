"""`render`: the commands of a DAG as a run would execute them, with an environment's values; secrets are masked."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from pipeline_config import templates
from pipeline_config.airflow_import import variables
from pipeline_config.compiler import MARKER, compile_pipeline
from pipeline_config.errors import CommandError, RenderError, RunValueError
from pipeline_config.model import Environment, Value, Values
from pipeline_config.project import Project
from pipeline_config.schema import Schema, did_you_mean, refusals

MASK = "***"
SECRET = re.compile(r"passw|secret|token|private|api_?key|access_?key", re.IGNORECASE)
# Arguments of a compiled task that are shown in another form, or are not the operator's.
_HIDDEN = {"operator", "dependencies", "task_group_name", "command", "program", "expand"}


def render(project: Project, dag_id: str, environment: Environment, given: dict[str, str]) -> str:
    """The tasks of a DAG that do something, in order: `# task_id (operator)`, its settings, its command.

    `given` are params as text, `name: value`. The run is one of 2024-01-02 15:00 UTC. Raises CommandError.
    """
    pipeline = project.pipeline(dag_id)
    params = _params(dag_id, pipeline.params, given)
    values = {name: MASK if SECRET.search(name) else value for name, value in variables(environment).items()}
    config = compile_pipeline(project, pipeline, environment)[dag_id]
    when = " ".join([_one_line(config["schedule"] or "none"), *config.get("timezone", "").split()])
    parts = [f"# {dag_id} in {environment.name}; schedule: {when}"]
    for task in pipeline.tasks:
        arguments = config["tasks"][task.task_id]
        if task.operator != MARKER:
            shown = _rendered(arguments, values, params)
            if "conf" in arguments:
                shown["conf"] = _rendered(arguments["conf"], values, params, templates.value)
            parts.append(_task(task.task_id, shown))
    return "\n\n".join(parts)


def _params(dag_id: str, schemas: Mapping[str, Schema], given: dict[str, str]) -> dict[str, Value]:
    """Every param: its default, or the given value, parsed by its type."""
    params = {name: schema["default"] for name, schema in schemas.items()}
    for name, text in given.items():
        if name not in schemas:
            raise CommandError(f"{dag_id} has no param {name!r}; {did_you_mean(name, list(schemas))}")
        candidates = [text, *_as_json(text)]
        fitting = [value for value in candidates if not refusals(schemas[name], value)]
        if not fitting:
            raise CommandError(f"param {name} refuses {text!r}: {refusals(schemas[name], candidates[-1])[0]}")
        params[name] = fitting[0]
    return params


def _as_json(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return []


def _rendered(
    value: Any, variables: dict[str, str], params: Values, fill: Callable[..., Any] = templates.render
) -> Any:
    """Every text of `value` rendered."""
    if isinstance(value, str):
        try:
            return fill(value, variables, params, shown=True)
        except RunValueError as error:
            raise CommandError(f"{value!r} cannot be rendered: only a run knows {error}") from error
        except RenderError as error:
            raise CommandError(f"{value!r} cannot be rendered: {error}") from error
    if isinstance(value, dict):
        return {key: _rendered(item, variables, params, fill) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, variables, params, fill) for item in value]
    return value


def _task(task_id: str, arguments: dict[str, Any]) -> str:
    lines = [f"# {task_id} ({arguments['operator']})"]
    lines += [f"#   {name}: {_one_line(value)}" for name, value in arguments.items() if name not in _HIDDEN]
    each = dict(arguments.get("expand", {}))
    commands = [arguments["command"]] if "command" in arguments else each.pop("command", [])
    lines += [f"#   for each {name}: {_one_line(values)}" for name, values in each.items()]
    program = arguments.get("program", [])
    lines += [command if isinstance(command, str) else shlex.join([*program, *command]) for command in commands]
    return "\n".join(lines)


def _one_line(value: Any) -> str:
    if not isinstance(value, dict | list):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False).strip()
