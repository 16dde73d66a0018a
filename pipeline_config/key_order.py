"""The order of a file's keys: that of its schema."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_config.schema import Schema, resolved


class Keys:
    """The keys of one mapping of a file, or nothing if unknown."""

    def __init__(self, schema: Schema, file: str) -> None:
        self.file = file
        self.schemas = list(_branches(schema, file))
        self.order = list(dict.fromkeys(key for one, _ in self.schemas for key in one.get("properties", {})))

    def place(self, name: str | None) -> int:
        """The position of that key; names chosen by a person, and list items, keep their order."""
        return self.order.index(name) if name in self.order else len(self.order)

    def of(self, name: str | None) -> Keys:
        """The keys of the value of that key; of an item of a list for None."""
        for schema, file in self.schemas:
            inner = schema.get("items") if name is None else schema.get("properties", {}).get(name)
            inner = inner or (schema.get("additionalProperties") if name is not None else None)
            if isinstance(inner, dict):
                return Keys(inner, file)
        return Keys({}, self.file)


def _branches(schema: Schema, file: str) -> Iterator[tuple[Schema, str]]:
    """A schema and its alternatives, each with the file that contains it."""
    schema, file = resolved(schema, file)
    yield schema, file
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _branches(choice, file)
