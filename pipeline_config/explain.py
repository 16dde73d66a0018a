"""`explain`: what the schemas say of a key, with an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from pipeline_config.errors import CommandError
from pipeline_config.schema import WORDS, did_you_mean, resolved, schema_of

FILES = {
    "pipeline": "a pipeline",
    "catalog": "catalog.yaml",
    "defaults": "defaults.yaml",
    "environment": "an environment",
}


def explain(key: str) -> str:
    """Every key of the schemas that is called so, or whose dotted path ends so. Raises CommandError."""
    key = key.replace("[]", "")
    keys = {(file, path): schema for file in FILES for path, schema in _keys(schema_of(file), "", file)}
    found = {place: schema for place, schema in keys.items() if f".{place[1]}".endswith(f".{key}")}
    if not found:
        names = sorted({path.rsplit(".", 1)[-1] for _, path in keys})
        hint = did_you_mean(key.rsplit(".", 1)[-1].lower(), names) or "pipeline_config/schemas/ has them all"
        raise CommandError(f"no schema has the key {key!r}; {hint}")
    return "\n\n".join(_text(file, path, schema) for (file, path), schema in found.items())


def _keys(schema: dict[str, Any], prefix: str, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with its dotted path; `<name>` stands for a name that the user chooses."""
    schema, file = resolved(schema, file)
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, resolved(inner, file)[0]
        yield from _keys(inner, f"{path}.", file)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _keys(schema["additionalProperties"], f"{prefix}<name>.", file)
    if isinstance(schema.get("items"), dict):
        yield from _keys(schema["items"], prefix, file)


def _text(file: str, path: str, schema: dict[str, Any]) -> str:
    lines = [f"{path}  (in {FILES[file]})", f"  {schema.get('description', '')}", f"  {_kind(schema)}"]
    example = schema.get("examples", [])
    if example:
        shown = yaml.safe_dump({path.rsplit(".", 1)[-1]: example[0]}, allow_unicode=True, sort_keys=False)
        lines += ["  for example:", *(f"    {line}" for line in shown.splitlines())]
    return "\n".join(lines)


def _kind(schema: dict[str, Any]) -> str:
    """The value's type and limits in words."""
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    types = schema.get("type", [])
    words = [WORDS[name] for name in ([types] if isinstance(types, str) else types)]
    limits = [
        f"{name} {schema[name]}" for name in ("minimum", "exclusiveMinimum", "format", "pattern") if name in schema
    ]
    return ", ".join([" or ".join(words) or "any value", *limits])
