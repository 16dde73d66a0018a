"""The schemas themselves."""

from __future__ import annotations

import pytest

from pipeline_config.explain import _keys
from pipeline_config.schema import schema_of, validator


@pytest.mark.parametrize("file", ["pipeline", "catalog", "defaults", "environment"])
def test_every_key_of_every_schema_has_a_description_and_an_example(file: str) -> None:
    keys = {path: key for path, key, _ in _keys(schema_of(file), "", file)}
    assert len(keys) > 5
    assert [path for path, key in keys.items() if not key.get("description") or not key.get("examples")] == []


@pytest.mark.parametrize("file", ["pipeline", "catalog", "defaults", "environment"])
def test_every_example_of_a_key_passes_the_keys_own_schema(file: str) -> None:
    for path, key, _ in _keys(schema_of(file), "", file):
        own = validator(file).evolve(schema=key)
        assert [error.message for example in key["examples"] for error in own.iter_errors(example)] == [], path
