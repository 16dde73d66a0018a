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
from tests.unit.test_spark_events import KEPT, QUARANTINED

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


def parsed(line: bytes) -> Any:
    """What is in a line that Spark's reader takes."""
    text = line.decode("utf-8", "surrogatepass").removeprefix("\ufeff").rstrip(", \r")
    return json.loads(text, strict=False)


@pytest.mark.parametrize("case", sorted(KEPT))
def test_what_spark_keeps_fits_the_schema(case: str) -> None:
    CHECK.validate(parsed(KEPT[case][0]))


FIELD_REASONS = {"not_an_object", "no_session_id", "bad_session_id", "bad_document_id", "bad_date"}
# White space alone is text to JSON Schema, a date's value and 64 bits are beyond it.
BEYOND_CASES = {"session blank", "document beyond 64 bits", ".NET's no date", "1999"}


@pytest.mark.parametrize(
    "case", sorted(name for name, (_, why) in QUARANTINED.items() if why in FIELD_REASONS and name not in BEYOND_CASES)
)
def test_what_spark_refuses_does_not(case: str) -> None:
    line = QUARANTINED[case][0]
    assert line is not None
    assert not CHECK.is_valid(parsed(line))
