"""The contract gives the rows that version 1 gave (as Spark expressions), but where version 2 differs on purpose.

tests/golden/contract/lines.json has, by the name of a line, its reason or what its click has other than the usual line;
generated.txt the beginning of each digest of what became of the lines of two dirty days.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.contract import Click, check
from jobs.event import event_id
from jobs.generator.__main__ import write_day
from pipeline_config.project import ROOT
from tests.contract_lines import HOSTILE, KAFKA_MS, KEPT, PLAIN, QUARANTINED, TEXT_CASES

GOLDEN = ROOT / "tests/golden/contract"
LINES = {
    **{name: value for name, (value, _) in {**QUARANTINED, **KEPT}.items()},
    **HOSTILE,
    **TEXT_CASES,
}
BEFORE: dict[str, Any] = json.loads((GOLDEN / "lines.json").read_text(encoding="ascii"))
_WHOLE = {
    "1.0": 1,
    "10e-1": 1,
    "1.5e1": 15,
    "1e3": 1000,
    "1E+3": 1000,
    "1000630.0": 1000630,
    "9007199254740993.0": 9007199254740993,
    "9223372036854775807.0": 9223372036854775807,
}
# What version 2 says where version 1 said what is in the file.
ON_PURPOSE: dict[str, Any] = {
    # An integer is what JSON Schema calls one, as some writers spell it.
    **{
        f"DocumentId {spelt} of {len(spelt)}": {"document_id": number, "click_rank": None}
        for spelt, number in _WHOLE.items()
    },
    # Bounds, on a text as it is written.
    **{
        f"{what} in ClinicalAreas": "long_area"
        for what in ("named entities", "what is no entity", "control characters")
    },
    "what is no entity in SessionId": "bad_session_id",
    # An escaped comma belongs to its label.
    "escaped comma in a label": {"clinical_areas": ["Other: Ear, Nose", "Surgery"]},
    # Only a session of blanks as they are is none: JSON Schema can say that.
    "entities of nothing in SessionId": {"session_id": "&nbsp;&#32;&#9;&#1;&#127;"},
    # A line end behind the date was let through, a lone surrogate behind an escaped backslash was not.
    "date '/Date(1357004977650)/\\\\n'": "bad_date",
    "escaped surrogate before a low one": {"title": "\\ud83d\ufffd"},
}


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def short(found: Click | str) -> Any:
    """As in the file."""
    usual = check(PLAIN, b"0", KAFKA_MS)
    if isinstance(found, str) or isinstance(usual, str):
        return found
    as_json: dict[str, Any] = json.loads(json.dumps(found._asdict()))
    other = {name: value for name, value in as_json.items() if getattr(found, name) != getattr(usual, name)}
    other.pop("event_id", None)
    return {key: value if len(json.dumps(value)) < 1500 else f"sha256:{digest(value)}" for key, value in other.items()}


@pytest.mark.parametrize("name", LINES)
def test_each_line_has_the_golden_result(name: str) -> None:
    found = check(LINES[name], b"0", KAFKA_MS)
    assert short(found) == ON_PURPOSE.get(name, BEFORE[name])
    if isinstance(found, Click):
        assert found.event_id == event_id(LINES[name] or b"", 0)


def test_the_list_of_differences_is_right() -> None:
    assert set(BEFORE) == set(LINES)
    assert not [name for name, now in ON_PURPOSE.items() if now == BEFORE[name]]


def test_generated_days_have_the_golden_results(tmp_path: Path) -> None:
    lines: list[bytes] = []
    for day in (dt.date(2013, 1, 2), dt.date(2020, 10, 20)):
        write_day(tmp_path, day, scale=1, seed=1, dirty=True)
        lines += (tmp_path / f"{day}.json").read_bytes().removesuffix(b"\n").split(b"\n")
    found = [check(line, b"0", KAFKA_MS) for line in lines]
    digests = [digest(one if isinstance(one, str) else one._asdict())[:8] for one in found]
    assert digests == (GOLDEN / "generated.txt").read_text(encoding="ascii").split()
