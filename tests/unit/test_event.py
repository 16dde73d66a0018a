"""The contract of an event: its schema and its code say the same, on the generator's lines."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import jsonschema
import pytest

from jobs.generator.defects import INVALID, VALID
from jobs.generator.sessions import sessions_of
from pipeline_config.project import ROOT

SCHEMA = json.loads((ROOT / "schemas/event.schema.json").read_text(encoding="utf-8"))
CHECK = jsonschema.Draft7Validator(SCHEMA)
# Not JSON at all, or a date that only the clock refuses: no JSON Schema can say so.
BEYOND_SCHEMA = {"truncated", "not_utf8", "net_minimum_date", "far_future_date"}


def records() -> list[dict[str, Any]]:
    """Clean records of the generator."""
    return [click.record for session in sessions_of(dt.date(2020, 10, 1), 1, 0.05) for click in session.clicks]


def test_clean_lines_fit_the_schema() -> None:
    found = records()
    assert len(found) > 50
    for record in found:
        CHECK.validate(record)


@pytest.mark.parametrize("kind", sorted(INVALID.keys() - BEYOND_SCHEMA))
def test_invalid_lines_do_not(kind: str) -> None:
    line = INVALID[kind][1](records()[0])
    assert not CHECK.is_valid(json.loads(line))


@pytest.mark.parametrize("kind", sorted(VALID))
def test_lines_with_harmless_defects_do(kind: str) -> None:
    line = VALID[kind][1](records()[0])
    CHECK.validate(json.loads(line.decode("utf-8", "surrogatepass").removeprefix("\ufeff").removesuffix(",")))
