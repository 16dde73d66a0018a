"""`explain`: what the schemas say about one key, or about all keys as a page, with examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from pipeline_config.errors import CommandError
from pipeline_config.schema import WORDS, Schema, did_you_mean, resolved, schema_of

FILES = {
    "pipeline": "a pipeline",
    "catalog": "catalog.yaml",
    "defaults": "defaults.yaml",
    "environment": "an environment",
}
_HEAD = """# Configuration reference

Generated from the schemas by `python -m pipeline_config explain`; `explain KEY` prints one key. Files hold their keys
in this order, which `fmt` restores. `<name>` stands for a name of your choice; **bold** keys are required.
"""
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "format": "format {}",
    "pattern": "matching `{}`",
}
_SECTIONS = {
    "pipeline": "A pipeline: `pipelines/<group>/<dag_id>.yaml`",
    "defaults": "What all pipelines share: `pipelines/defaults.yaml`",
    "catalog": "Variables, connections and pools: `pipelines/catalog.yaml`",
    "environment": "An environment: `pipelines/environments/<name>.yaml`",
}


def explain(key: str) -> str:
    """Every key of the schemas with this name, or whose dotted path ends with it. Raises CommandError."""
    key = key.replace("[]", "")
    keys = {(file, path): schema for file in FILES for path, schema, _ in _keys(schema_of(file), "", file)}
    found = {place: schema for place, schema in keys.items() if f".{place[1]}".endswith(f".{key}")}
    if not found:
        names = sorted({path.rsplit(".", 1)[-1] for _, path in keys})
        hint = did_you_mean(key.rsplit(".", 1)[-1].lower(), names) or "pipeline_config/schemas/ has them all"
        raise CommandError(f"no schema has the key {key!r}; {hint}")
    return "\n\n".join(_text(file, path, schema) for (file, path), schema in found.items())


def reference() -> str:
    """Every key of every file, as a Markdown page."""
    return "\n".join([_HEAD, *(line for file in _SECTIONS for line in _section(file))])


def _section(file: str) -> Iterator[str]:
    yield f"## {_SECTIONS[file]}\n\n| key | value | meaning | example |\n|---|---|---|---|"
    for path, schema, is_required in _keys(schema_of(file), "", file):
        if path.startswith("default_args.") and file != "pipeline":
            continue  # the same ones
        shown = f"**`{path}`**" if is_required else f"`{path}`"
        example = next((f"`{_in_one_line(one)}`" for one in schema.get("examples", [])), "")
        cells = (shown, _kind(schema), schema.get("description", ""), example)
        yield f"| {' | '.join(map(_in_a_cell, cells))} |"
    yield ""


def _in_a_cell(text: str) -> str:
    """Text for a cell of a Markdown table; outside of backticks, `<` is escaped."""
    text = text.replace("|", "\\|")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(text.split("`")))


def _in_one_line(example: Any) -> str:
    """YAML of any value on one line."""
    text = yaml.safe_dump(example, allow_unicode=True, sort_keys=False, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _keys(schema: Schema, prefix: str, file: str) -> Iterator[tuple[str, Schema, bool]]:
    """Every key with its dotted path and whether it is required; `<name>` stands for a name that the user chooses."""
    schema, file = resolved(schema, file)
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, resolved(inner, file)[0], name in schema.get("required", [])
        yield from _keys(inner, f"{path}.", file)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _keys(schema["additionalProperties"], f"{prefix}<name>.", file)
    if isinstance(schema.get("items"), dict):
        yield from _keys(schema["items"], prefix, file)


def _text(file: str, path: str, schema: Schema) -> str:
    lines = [f"{path}  (in {FILES[file]})", f"  {schema.get('description', '')}", f"  {_kind(schema)}"]
    example = schema.get("examples", [])
    if example:
        shown = yaml.safe_dump({path.rsplit(".", 1)[-1]: example[0]}, allow_unicode=True, sort_keys=False)
        lines += ["  for example:", *(f"    {line}" for line in shown.splitlines())]
    return "\n".join(lines)


def _kind(schema: Schema) -> str:
    """The value's type and limits in words."""
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    if "anyOf" in schema and "type" not in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    types = schema.get("type", [])
    words = [WORDS[name] for name in ([types] if isinstance(types, str) else types)]
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    return ", ".join([" or ".join(words) or "any value", *limits])
