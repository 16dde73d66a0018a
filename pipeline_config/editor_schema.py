"""`schemas/generated/`: the schemas for editors, with this project's names.

Each pipeline has a schema of its own, which adds the names of its tasks to the one of all pipelines. The check writes
them; nothing of the project reads them.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline_config import argparse_parts, parsers
from pipeline_config.connection_types import TAKES
from pipeline_config.for_job import help_of, jobs_of
from pipeline_config.model import Pipeline
from pipeline_config.project import Project
from pipeline_config.schema import Schema, resolved, schema_of

FOLDER = "schemas/generated"
OURS = Path(__file__).parent
NOTIFIED = ("on_failure", "on_retry", "on_success", "notify")
_TEMPLATE = {"type": "string", "pattern": r"\{\{"}


def write(project: Project) -> None:
    """Update `schemas/generated/` for a project whose shared files are valid.

    Where no file names one in its first line, or without leave to write, do nothing.
    """
    folder = project.root / FOLDER
    stamp = folder / "pipeline.schema.json"
    named = any(FOLDER in document.text for document in project.files)
    if not named or _is_newer(stamp, project):
        return
    texts = {folder / f"{name}.schema.json": _text(schema) for name, schema in generated(project).items()}
    with suppress(OSError):
        for path, text in texts.items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        for path in set(folder.rglob("*.schema.json")) - texts.keys():
            path.unlink()
        os.utime(stamp)


def _is_newer(stamp: Path, project: Project) -> bool:
    """Whether nothing has changed since it was written; adding or removing a file changes its folder."""
    if not stamp.exists():
        return False
    written = stamp.stat().st_mtime_ns
    jobs = {command.module.partition(".")[0] for command in project.defaults.commands.values()}
    read = {OURS: "", project.root / "pipelines": "", **{project.root / name: ".py" for name in jobs}}
    for place, ending in read.items():
        for folder, _, files in os.walk(place):
            if folder.endswith((FOLDER, "__pycache__")):
                continue
            paths = [folder, *(f"{folder}/{file}" for file in files if file.endswith(ending))]
            if max(os.lstat(path).st_mtime_ns for path in paths) >= written:
                return False
    return True


def generated(project: Project) -> dict[str, Schema]:
    """The schemas by name: one per kind of file, and `pipelines/<dag_id>` for each readable pipeline."""
    result = {name: _of(name, project) for name in ("catalog", "defaults")}
    result |= {"pipeline": _of_pipelines(project), "environment": _of_environments(project)}
    return result | {f"pipelines/{pipeline.dag_id}": _of_file(pipeline) for pipeline in project.pipelines}


def _text(schema: Schema) -> str:
    return json.dumps(schema, ensure_ascii=False) + "\n"


def _of_pipelines(project: Project) -> Schema:
    """The schema of pipelines with the names of catalog, defaults, jobs and DAGs."""
    schema = _of("pipeline", project)
    properties = schema["properties"]
    _one_of(properties["variables"]["items"], project.catalog.variables)
    _one_of(properties["connections"]["items"], project.catalog.connections)
    task = properties["tasks"]["items"]
    _one_of(task["properties"]["pool"], project.catalog.pools)
    operators = [{"enum": list(project.defaults.operators)}, {"type": "string", "pattern": r"\."}]
    task["properties"]["operator"]["anyOf"] = operators
    _keys_by_operator(task)
    task["allOf"] += [*_by_operator(project), *_by_command(project), *_by_target(project)]
    return schema


def _of(name: str, project: Project) -> Schema:
    """A self-contained copy of a schema, with the notifiers of defaults.yaml."""
    schema: Schema = _complete(schema_of(name), name, name)
    _name_notifiers(schema, list(project.defaults.notifiers))
    return schema


def _complete(value: Any, file: str, top: str) -> Any:
    """A copy of (a part of) a schema of `file`, in which no `$ref` leads out of `top`."""
    if isinstance(value, list):
        return [_complete(item, file, top) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value and not (file == top and value["$ref"].startswith("#")):
        target, file = resolved(value, file)
        return _complete(target, file, top)
    return {key: _complete(item, file, top) for key, item in value.items()}


def _name_notifiers(value: Any, names: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _name_notifiers(item, names)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in NOTIFIED and isinstance(item, dict) and "items" in item:
                item.pop("examples", None)
                _one_of(item["items"], names)
            _name_notifiers(item, names)


def _one_of(schema: Schema, names: Any) -> None:
    """The value is one of these names; without examples, which editors would also propose."""
    schema.pop("examples", None)
    schema |= _names(names)


def _names(names: Any) -> Schema:
    """One of these names; without names, nothing is valid."""
    return {"enum": list(names)} if names else {"not": {}}


def _keys_by_operator(task: Schema) -> None:
    """Offer a key only where its operator accepts it: editors propose what is among `properties`."""
    refused = [
        {key for key, value in rule["then"]["properties"].items() if value == {"not": {}}} for rule in task["allOf"]
    ]
    some = {key: task["properties"].pop(key) for key in [*task["properties"]] if any(key in keys for keys in refused)}
    task["patternProperties"] = {f"^({'|'.join(some)})$": {}}
    for rule, keys in zip(task["allOf"], refused, strict=True):
        taken = {key: copy.deepcopy(schema) for key, schema in some.items() if key not in keys}
        for schema in taken.values():
            schema.pop("examples", None)
            schema.pop("propertyNames", None)  # else `property` is proposed
        not_taken: Schema = {f"^({'|'.join(key for key in some if key in keys)})$": {"not": {}}}
        # Required keys are separate: beside properties, editors would propose them all under the schema's title.
        apart = {"allOf": [{"required": rule["then"]["required"]}]} if "required" in rule["then"] else {}
        rule["then"] = {"properties": taken, "patternProperties": not_taken, **apart}


def _if(then: Schema, **values: str) -> Schema:
    """The conditions on a task's keys if those keys have those values."""
    conditions = {key: {"const": value} for key, value in values.items()}
    return {"if": {"properties": conditions, "required": [*conditions]}, "then": {"properties": then}}


def _by_operator(project: Project) -> list[Schema]:
    """The connections and command templates that fit an operator."""
    rules = []
    for name, operator in project.defaults.operators.items():
        if kind := operator.connection_type:
            commands = project.defaults.commands.items()
            fitting = [command for command, template in commands if template.kind == TAKES.get(kind)]
            of_type = project.catalog.connections_of(kind)
            rules.append(_if({"connection": _names(of_type), "command": _names(fitting)}, operator=name))
    return rules


def _by_command(project: Project) -> list[Schema]:
    """The jobs of a command template, and the options of each job."""
    jobs = jobs_of(project)
    rules = []
    for command in project.defaults.commands:
        own = {job: parser for job, (its_command, parser) in jobs.items() if its_command == command}
        rules.append(_if({"job": _names(own)}, command=command))
        for job, parser in own.items():
            options = {option: _option(parser, option) for option in argparse_parts.options(parser)}
            lists = {option: {"type": "array", "items": schema} for option, schema in options.items()}
            then = {
                "arguments": {"properties": options, "additionalProperties": False},
                "for_each": {"properties": lists, "additionalProperties": False},
            }
            rules.append(_if(then, command=command, job=job))
    return rules


def _option(parser: argparse.ArgumentParser, option: str) -> Schema:
    """What a job's option accepts: a value of its type, or a string, which may be a template."""
    schema = parsers.values(parser, option)
    text = _TEMPLATE if "enum" in schema else {"type": "string"}
    kinds = [text] if schema["type"] == "string" and "enum" not in schema else [schema, text]
    return {"description": help_of(parser, option), "anyOf": kinds}


def _by_target(project: Project) -> list[Schema]:
    """The existing DAGs and their params."""
    params = {pipeline.dag_id: pipeline.params for pipeline in project.pipelines}
    targets = {"trigger_dag_id": {"anyOf": [_names(params), _TEMPLATE]}}
    rules = [{"if": {"required": ["trigger_dag_id"]}, "then": {"properties": targets}}]
    for dag_id, schemas in params.items():
        known = {name: {"description": schema["description"]} for name, schema in schemas.items()}
        rules.append(_if({"conf": {"properties": known, "additionalProperties": False}}, trigger_dag_id=dag_id))
    return rules


def _of_environments(project: Project) -> Schema:
    """The schema of environments with the names of the catalog and of the operators."""
    schema = _of("environment", project)
    properties = schema["properties"]
    described = {name: entry.description for name, entry in project.catalog.variables.items()}
    described_connections = {name: entry.description for name, entry in project.catalog.connections.items()}
    for kind, names in (
        ("variables", described),
        ("connections", described_connections),
        ("operators", dict.fromkeys(project.defaults.operators, "")),
    ):
        of_each = properties[kind].pop("additionalProperties")
        known = {name: {**of_each, "description": description} for name, description in names.items()}
        properties[kind] |= {"properties": known, "additionalProperties": False}
    _one_of(properties["extends"], project.environment_files)
    return schema


def _of_file(pipeline: Pipeline) -> Schema:
    """The ids of a pipeline's tasks and groups. Proposed, not required: new ones are not known yet."""
    groups = list(pipeline.task_groups)
    group = {"anyOf": [{"enum": groups}, {"type": "string"}]} if groups else {}
    dependency = {"anyOf": [{"enum": [*(task.task_id for task in pipeline.tasks), *groups]}, {"type": "string"}]}
    # Their keys are proposed by the schema of all pipelines already.
    named: dict[str, Schema] = {"group": group, "dependencies": {"items": dependency}}
    own = {"properties": {key: {**schema, "doNotSuggest": True} for key, schema in named.items()}}
    return {
        "$schema": schema_of("pipeline")["$schema"],
        "allOf": [{"$ref": "../pipeline.schema.json"}],
        "properties": {"tasks": {"items": own}, "task_groups": {"additionalProperties": own}},
    }
