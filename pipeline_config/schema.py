"""JSON Schema's findings as problems that a person understands."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from referencing import Registry, Resource

from pipeline_config.json_schema import jsonschema
from pipeline_config.problem import Problem
from pipeline_config.reader import MAX_DIGITS, Document, KeyPath

Schema: TypeAlias = dict[str, Any]  # as JSON has it
SCHEMAS = Path(__file__).parent / "schemas"
MAX_LISTED = 25  # names in a hint; a longer list helps nobody
WORDS = {
    "null": "empty",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


# Our keys by those of Airflow, dag-factory and others that resemble none of ours.
ELSEWHERE = {
    "task_group_name": "group",
    "parent_group_name": "group",
    "tooltip": "description",
    "doc_md": "description",
    **dict.fromkeys(("upstream", "upstream_tasks", "depends_on", "needs"), "dependencies"),
    "task_group": "group",
    "sla": "deadline",
    "email": "on_failure",
    "expand": "for_each",
    "choices": "enum",
    **dict.fromkeys(("user", "username"), "login"),
    **dict.fromkeys(("database", "dbname", "db"), "schema"),
}


@cache
def schema_of(name: str) -> Schema:
    """`<name>.schema.json`, to be read only: cached."""
    schema: Schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


@cache
def validator(name: str) -> jsonschema.Draft7Validator:
    """The validator of `<name>.schema.json`."""
    registry: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    return jsonschema.Draft7Validator(schema_of(name), format_checker=checker, registry=registry)


def _retrieve(uri: str) -> Resource[Any]:
    return Resource.from_contents(schema_of(uri.removesuffix(".schema.json")))


def resolved(schema: Schema, file: str) -> tuple[Schema, str]:
    """The target of a `$ref` in a schema of `file`, and the file that it is in; any other schema unchanged."""
    while reference := schema.get("$ref"):
        name, _, pointer = reference.partition("#/")
        file = name.removesuffix(".schema.json") or file
        schema = schema_of(file)
        for part in pointer.split("/"):
            schema = schema[part]
    return schema, file


def check_schema(document: Document, name: str) -> Iterator[Problem]:
    """The problems of a document by `<name>.schema.json`."""
    if name == "pipeline" and (theirs := _of_dag_factory(document.data)):
        hint = "move the file elsewhere; `python -m pipeline_config migrate FILE` writes it as a pipeline"
        yield document.problem((theirs,), f"{theirs!r} is a DAG in dag-factory's own dialect", hint)
    elif document.data is not None:
        errors = list(validator(name).iter_errors(document.data))
        misplaced = {tuple(error.absolute_path) for error in errors if error.validator == "not"}
        missing = {(*error.absolute_path, _missing(error)) for error in errors if error.validator == "required"}
        misspelt = {(*error.absolute_path, key) for error in errors for key in _meant(error, missing)}
        for error in errors:
            path = tuple(error.absolute_path)
            if any((*path, key) in misspelt for key in _absent(error)):
                continue  # it is there, by another name
            if error.validator == "not" or not any(path[: len(place)] == place for place in misplaced):
                yield from _explain(document, error, missing)


def _of_dag_factory(data: Any) -> str | None:
    """The first DAG of a file in dag-factory's own dialect, in which each has its tasks below its dag_id."""
    if not isinstance(data, dict) or "tasks" in data:
        return None
    return next((key for key, value in data.items() if isinstance(value, dict) and "tasks" in value), None)


def refusals(param: Schema, value: Any) -> list[str]:
    """Why a param (a JSON Schema, as Airflow reads it) refuses a value."""
    validator = jsonschema.Draft202012Validator
    checker = jsonschema.FormatChecker()  # knows more formats than a draft's own, such as `time`; Airflow uses it
    return [error.message for error in validator(param, format_checker=checker).iter_errors(value)]


def _explain(document: Document, error: jsonschema.ValidationError, missing: set[KeyPath]) -> Iterable[Problem]:
    if error.validator == "oneOf" and not error.context:
        is_mapping = isinstance(error.instance, dict)  # else its type is wrong, which is reported
        return [document.problem(tuple(error.absolute_path), *_too_many(error))] if is_mapping else []
    if error.validator in ("anyOf", "oneOf") and error.context:
        error = jsonschema.exceptions.best_match(error.context) or error
    path: KeyPath = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        unknown = _unknown(error, missing).items()
        return (document.problem((*path, key), f"unknown key {key!r}", hint) for key, hint in unknown)
    if "propertyNames" in error.absolute_schema_path:
        key = str(error.instance)
        message = f"key {key!r} does not match {error.validator_value}"
        return [document.problem((*path, key), message, _fitting(key, str(error.validator_value)))]
    if error.validator in ("required", "not"):
        return [document.problem(path, *_absent_or_present(document, error, path))]
    name = next((part for part in reversed(path) if isinstance(part, str)), "file")
    explain = _MESSAGES.get(str(error.validator))
    message = explain(name, error) if explain else f"{name}: {error.message}"
    return [document.problem(path, message, _hint(error), at_value=True)]


def _unknown(error: jsonschema.ValidationError, missing: set[KeyPath]) -> dict[str, str]:
    """The unknown keys of a mapping, each with its hint; `missing` are required keys that are not there."""
    absent = [str(key) for *path, key in missing if path == [*error.absolute_path]]
    known = list(error.schema["properties"])  # type: ignore[index]
    near = _advanced if _is_of_a_class(error.instance) else did_you_mean
    unknown = [key for key in error.instance if key not in known]  # type: ignore[union-attr]
    meant = {key: _shortened(key, absent) or ELSEWHERE.get(key) for key in unknown}
    of_all = _default_args(known) if {"operator", "default_args"}.intersection(known) else {}
    where = "default_args:" if "default_args" in known else "default_args: of the DAG"
    hints = {key: f"did you mean {ours!r}?" for key, ours in meant.items() if ours in known}
    hints |= {key: f"write {of_all[key]} under {where}" for key in unknown if key in of_all}
    return {key: hints.get(key) or near(key, known) for key in unknown}


def _shortened(key: str, absent: list[str]) -> str | None:
    """The absent key of which this is the beginning or the last word."""
    return next((name for name in absent if name.startswith(key) or name.endswith(f"_{key}")), None)


def _default_args(known: list[str]) -> dict[str, str]:
    """The keys of `default_args` that are not `known`, by our name and by Airflow's."""
    own = schema_of("defaults")["definitions"]["default_args"]["properties"].keys() - known
    return {key: name for name in own for key in (name, name.removesuffix("_minutes"))}


def _meant(error: jsonschema.ValidationError, missing: set[KeyPath]) -> set[str]:
    """The keys that the unknown ones of a mapping are meant to be."""
    hints = _unknown(error, missing).values() if error.validator == "additionalProperties" else ()
    return {hint.split("'")[1] for hint in hints if hint.startswith("did you mean")}


def _absent(error: jsonschema.ValidationError) -> list[str]:
    """The keys of which one is missing."""
    every = [error] if error.validator == "required" else error.context or ()
    return [_missing(one) for one in every] if all(one.validator == "required" for one in every) else []


def _missing(error: jsonschema.ValidationError) -> str:
    return error.message.split("'")[1]


def _fitting(text: str, pattern: str) -> str:
    """The hint that names what a text may be meant to be: in the other case, with other dashes, without a path."""
    stem = re.sub(r"\.(?:py|ya?ml)$", "", text).strip("-")
    stems = (stem, re.split("[./]", stem)[-1])
    dashes = [form for one in stems for form in (one, one.replace("-", "_"), one.replace("_", "-"))]
    forms = [form for other in dashes for form in (other, other.lower(), other.upper()) if re.search(pattern, form)]
    return f"did you mean {forms[0]!r}?" if forms else ""


def _parent(document: Document, path: KeyPath) -> Any:
    value = document.data
    for part in path[:-1]:
        value = value[part]
    return value


def _is_of_a_class(task: Any) -> bool:
    """Whether a task names its operator by the import path of a class."""
    return isinstance(task, dict) and "." in str(task.get("operator", ""))


def _advanced(key: str, known: list[str]) -> str:
    """The hint for a key of such a task: misspelled, or an argument of the class."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    return f"did you mean {near[0]!r}?" if near else "put an argument of the class under advanced:"


def _too_many(error: jsonschema.ValidationError) -> tuple[str, str]:
    """For keys that exclude each other: those present."""
    keys = [key for choice in error.validator_value for key in choice.get("required", [])]  # type: ignore[union-attr]
    there = [key for key in keys if key in error.instance]  # type: ignore[operator]
    return f"{error.absolute_path[-1]} has {' and '.join(there)}", "keep one of them"


def _absent_or_present(document: Document, error: jsonschema.ValidationError, path: KeyPath) -> tuple[str, str]:
    """The message and hint for a key that is missing, or does not belong here."""
    if error.validator == "not":
        hint = (
            "write advanced: instead"
            if path[-1] == "arguments" and _is_of_a_class(_parent(document, path))
            else "remove it"
        )
        return f"{str(path[-1])!r} does not belong to this operator", hint
    key = _missing(error)
    tasks = schema_of("pipeline")["properties"]["tasks"]["items"]["properties"] if path[:1] == ("tasks",) else {}
    described: Schema = {**tasks, **error.schema.get("properties", {})}.get(key, {})  # type: ignore[union-attr]
    return f"key {key!r} is missing", _example(described) or described.get("description", "")


def _type(name: str, error: jsonschema.ValidationError) -> str:
    wanted = error.validator_value
    words = [WORDS[word] for word in (wanted if isinstance(wanted, list) else [wanted])]  # type: ignore[index]
    said = f"a number of more than {MAX_DIGITS} digits" if _is_long(error.instance) else kind(error.instance)
    return f"{name}: must be {' or '.join(words)}, is {said}"


def _is_long(value: Any) -> bool:
    """Whether a text is one because it is a number with more digits than the reader takes."""
    return isinstance(value, str) and re.fullmatch(rf"[-+]?\d{{{MAX_DIGITS + 1},}}(?:\.\d+)?", value) is not None


_MESSAGES: dict[str, Callable[[str, jsonschema.ValidationError], str]] = {
    "type": _type,
    "enum": lambda name, error: f"{name}: {error.instance!r} is not allowed here",
    "pattern": lambda name, error: f"{name}: {error.instance!r} does not match {error.validator_value}",
    "format": lambda name, error: f"{name}: {error.instance!r} is not a valid {error.validator_value}",
    "minLength": lambda name, _: f"{name}: must not be empty",
    "minItems": lambda name, _: f"{name}: must not be empty",
    "minProperties": lambda name, _: f"{name}: must not be empty",
    "maxLength": lambda name, error: f"{name}: must not be longer than {error.validator_value} characters",
    "maximum": lambda name, error: f"{name}: must be {error.validator_value} or less, is {error.instance}",
    "uniqueItems": lambda name, error: f"{name}: {_repeated(error.instance)!r} is duplicated",
    "minimum": lambda name, error: f"{name}: must be {error.validator_value} or more, is {error.instance}",
    "exclusiveMinimum": lambda name, error: f"{name}: must be above {error.validator_value}, is {error.instance}",
}


def _repeated(items: Any) -> Any:
    return next(item for index, item in enumerate(items) if item in items[:index])


def _hint(error: jsonschema.ValidationError) -> str:
    if error.validator == "enum":
        return did_you_mean(str(error.instance), [str(allowed) for allowed in error.validator_value])  # type: ignore[union-attr]
    if error.validator == "pattern" and (near := _fitting(str(error.instance), str(error.validator_value))):
        return near
    return _example(error.schema) or _quoted(error)


def _quoted(error: jsonschema.ValidationError) -> str:
    """The hint for a number, or for true or false, that would be right as text."""
    is_scalar = error.validator == "type" and isinstance(error.instance, bool | int | float)
    schema: Any = error.schema
    text = json.dumps(error.instance) if is_scalar else ""
    return f'write "{text}" in quotes' if is_scalar and jsonschema.Draft7Validator(schema).is_valid(text) else ""


def _example(schema: Any) -> str:
    examples: Iterable[Any] = schema.get("examples", []) if isinstance(schema, dict) else []
    return next((f"for example {json.dumps(example, ensure_ascii=False)}" for example in examples), "")


def kind(value: Any) -> str:
    """The type of a value in words, as WORDS has them."""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return "empty" if value is None else WORDS[kinds[type(value)]]


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    in_lower = {name.lower(): name for name in known}
    near = [in_lower[name] for name in difflib.get_close_matches(word.lower(), in_lower, n=3, cutoff=0.6)]
    if near:
        # People misspell the first letter least: 'retry' means 'retries', not 'on_retry'.
        return f"did you mean {min(near, key=lambda name: name[:1].lower() != word[:1].lower())!r}?"
    return f"known: {', '.join(sorted(known))}" if 0 < len(known) <= MAX_LISTED else ""
