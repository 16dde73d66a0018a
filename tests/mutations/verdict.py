"""Whether a changed pipeline still means the same, may be meant so, or is wrong; asks no check of the project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import jinja2
import jsonschema
from croniter import croniter

from pipeline_config import templates
from pipeline_config.compiler import compile_pipeline
from pipeline_config.model import Pipeline, Place
from pipeline_config.project import Project
from pipeline_config.reader import Document

MISSING = object()
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# What of JSON Schema means something in a trigger form.
PARAM_KEYS = frozenset(
    "type default description title section format enum examples values_display items minimum maximum exclusiveMinimum "
    "exclusiveMaximum minLength maxLength pattern".split()
)
FORMATS = ("date", "date-time", "time", "multiline")
Path = tuple[Any, ...]
Difference = tuple[Path, Any, Any]


class Verdict(Enum):
    """What a mutation did to a pipeline's meaning."""

    SAME = "same meaning"
    FREE = "changed as a person may choose"
    WRONG = "changed wrongly"


def judge(project: Project, original: dict[str, Any], changed: Any) -> tuple[Verdict, list[Difference]]:
    """The verdict on the data of a changed file (None: it cannot be read), and where it differs.

    Free to choose are: descriptions, tags, another valid schedule, a param's default and bounds as long as they fit
    each other, literal numbers and switches in the range of what takes them, and the name of a task that no other
    names. Everything else that differs is wrong.
    """
    if not isinstance(changed, dict):
        return Verdict.WRONG, []
    found = list(differences(original, changed))
    added = any(old is MISSING for _, old, _ in found)  # a key that nobody reads is compiled to nothing
    if not found or (not added and _compiled(project, original) == _compiled(project, changed)):
        return Verdict.SAME, found
    free = all(_is_free(project, changed, *difference) for difference in found)
    return (Verdict.FREE if free else Verdict.WRONG), found


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[Difference]:
    """The smallest places where two values differ: (path, old, new), MISSING where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, (*path, index))
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def _compiled(project: Project, data: dict[str, Any]) -> Any:
    """The DAG's config with its templates' white space evened out; an object of its own when it cannot be made."""
    try:
        config = compile_pipeline(project, Pipeline.of(Place(Document("")), data), project.environment("production"))
    except Exception:  # noqa: BLE001 (it is not known how wrong the data are)
        return object()
    return _evened({**config, "variables": data.get("variables"), "connections": data.get("connections")})


def _evened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _evened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_evened(item) for item in value]
    if isinstance(value, str) and "{" in value:
        try:
            return templates.environment().compile(value, raw=True)
        except jinja2.TemplateError:
            return value
    return type(value), value


def _is_free(project: Project, data: dict[str, Any], path: Path, old: Any, new: Any) -> bool:
    match path:
        case ("description",) | ("tags", _):
            return isinstance(new, str) and bool(new.strip())
        case ("tags",):
            return new is MISSING or (isinstance(new, list) and all(isinstance(tag, str) and tag for tag in new))
        case ("schedule",):
            return new is None or (isinstance(new, str) and croniter.is_valid(new))
        case ("params", name, *_) if name in data["params"]:
            return _is_sound_param(data["params"][name])
        case ("tasks", index, "task_id"):
            return _is_free_name(data["tasks"], index, old, new)
        case ("tasks", _, "conf") if new is MISSING:
            return "{{" not in str(old)
        case ("tasks", _, "conf", _) if isinstance(old, str) and "{{" in old:
            return isinstance(new, str) and re.sub(r"\d+", "0", old) == re.sub(r"\d+", "0", new)
        case ("tasks", index, "conf", name):
            target = data["tasks"][index].get("trigger_dag_id")
            takes = [pipeline.params.get(name) for pipeline in project.pipelines if pipeline.dag_id == target]
            return new is MISSING or any(schema and _takes(schema, new) for schema in takes)
        case ("tasks", _, "retries" | "execution_timeout_minutes"):
            return new is MISSING or (type(new) in (int, float) and new > 0)
    return False


def _is_sound_param(param: Any) -> bool:
    """Whether a param's keys mean something and its default fits them."""
    if not isinstance(param, dict) or not {"type", "default"} <= param.keys() <= PARAM_KEYS:
        return False
    if not isinstance(param.get("description"), str) or param.get("format", "date") not in FORMATS:
        return False
    return _takes(param, param["default"])


def _takes(schema: Any, value: Any) -> bool:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    try:
        jsonschema.validate(value, schema, jsonschema.Draft202012Validator, format_checker=checker)
    except (jsonschema.ValidationError, jsonschema.SchemaError):
        return False
    return True


def _is_free_name(tasks: list[Any], index: int, old: Any, new: Any) -> bool:
    others = [task for number, task in enumerate(tasks) if number != index and isinstance(task, dict)]
    taken = [task.get("task_id") for task in others]
    named = [name for task in others for name in _list(task.get("dependencies"))]
    return isinstance(new, str) and bool(NAME.fullmatch(new)) and old not in named and new not in taken


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
