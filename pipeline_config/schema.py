"""JSON Schema's findings as problems that a person understands."""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from pipeline_config.problem import Problem
from pipeline_config.reader import Document, KeyPath

SCHEMAS = Path(__file__).parent.parent / "schemas"


@cache
def _validator(name: str) -> jsonschema.Draft7Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)


def check_schema(document: Document, name: str) -> list[Problem]:
    """What `schemas/<name>.schema.json` says of a document."""
    if document.data is None:
        return []
    errors = _validator(name).iter_errors(document.data)
    return [problem for error in errors for problem in _explain(document, error)]


def _explain(document: Document, error: jsonschema.ValidationError) -> list[Problem]:
    path: KeyPath = tuple(error.absolute_path)
    validator = str(error.validator)
    schema: Any = error.schema
    value: Any = error.validator_value
    instance: Any = error.instance
    if validator == "additionalProperties":
        known = list(schema["properties"])
        unknown = [key for key in instance if key not in known]
        return [document.problem((*path, key), f"unknown key {key!r}", did_you_mean(key, known)) for key in unknown]
    if validator == "required":
        return [document.problem(path, _missing(error), _example(error))]
    if validator == "not":
        return [document.problem(path, f"{path[-1]!r} does not belong to this operator", "remove it")]
    if validator == "type":
        wanted = value if isinstance(value, list) else [value]
        message = f"must be {' or '.join(wanted)}, is {_kind(error.instance)}"
        return [document.problem(path, f"{path[-1] if path else 'file'}: {message}", _example(error), at_value=True)]
    if validator == "enum":
        hint = did_you_mean(str(error.instance), [str(allowed) for allowed in value])
        return [document.problem(path, f"{error.instance!r} is not allowed here", hint, at_value=True)]
    return [document.problem(path, error.message, _example(error), at_value=True)]


def _missing(error: jsonschema.ValidationError) -> str:
    key = error.message.split("'")[1]
    return f"key {key!r} is missing"


def _example(error: jsonschema.ValidationError) -> str:
    examples: list[Any] = error.schema.get("examples", []) if isinstance(error.schema, dict) else []
    return f"for example {json.dumps(examples[0], ensure_ascii=False)}" if examples else ""


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "empty" if value is None else kinds.get(type(value), type(value).__name__)


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(sorted(known))}" if known else ""
