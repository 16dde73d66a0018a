"""The contract on single lines: every row of the table of bad records, what is kept, what is refused, and why."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobs.contract import Click, check
from jobs.event import event_id
from tests.contract_lines import KAFKA_MS, KEPT, PLAIN, QUARANTINED, SOURCE_MS, TEXTS, line, raw


def kept(value: bytes | None, shift: bytes | None = b"0") -> Click:
    """The click of a line; fails when it is none."""
    click = check(value, shift, KAFKA_MS)
    assert isinstance(click, Click), click
    return click


@pytest.mark.parametrize("case", QUARANTINED)
def test_an_invalid_line_is_refused_with_its_reason(case: str) -> None:
    value, reason = QUARANTINED[case]
    assert check(value, b"0", KAFKA_MS) == reason


@pytest.mark.parametrize("case", KEPT)
def test_a_valid_line_becomes_this_click(case: str) -> None:
    value, expected = KEPT[case]
    click = kept(value)
    found = click._asdict() | {"clinical_areas": list(click.clinical_areas)}
    assert {name: found[name] for name in expected} == expected


def test_a_shift_moves_the_event_time_and_gives_another_identity() -> None:
    click = kept(PLAIN, b"604800000")
    assert (click.source_ms, click.event_ms) == (SOURCE_MS, SOURCE_MS + 604_800_000)
    assert click.event_id == event_id(PLAIN, 604_800_000)


BOUNDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "session": ({"SessionId": "s" * 100}, {"SessionId": "s" * 101}, "bad_session_id"),
    "session of entities": ({"SessionId": "&lt;" * 25}, {"SessionId": "&lt;" * 4000}, "bad_session_id"),
    "URL": ({"Url": "x" * 10_000}, {"Url": "x" * 10_001}, "long_url"),
    "title": ({"Title": "&lt;" * 2500}, {"Title": "&lt;" * 20_000}, "long_title"),
    "title beyond ASCII": ({"Title": "\u2019" * 10_000}, {"Title": "\U0001f600" * 10_001}, "long_title"),
    "DOI": ({"DOI": " " * 10_000}, {"DOI": " " * 10_001}, "long_doi"),
    "keywords": ({"Keywords": "x" * 10_000}, {"Keywords": "x" * 10_001}, "long_keywords"),
    "areas as a whole": ({"ClinicalAreas": "," * 10_000}, {"ClinicalAreas": "," * 10_001}, "long_areas"),
    "areas": ({"ClinicalAreas": ",a" * 32}, {"ClinicalAreas": ",a" * 33}, "many_areas"),
    "areas by the thousand": ({"ClinicalAreas": "a,,"}, {"ClinicalAreas": ",a" * 4000}, "many_areas"),
    "an area": ({"ClinicalAreas": f",{'x' * 100},y"}, {"ClinicalAreas": f",{'x' * 101},y"}, "long_area"),
    "an area of thousands": ({"ClinicalAreas": "x" * 100}, {"ClinicalAreas": "x" * 4000}, "long_area"),
    "date": ({"DateCreated": "/Date(946684800000)/"}, {"DateCreated": "/Date(946684799999)/"}, "bad_date"),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_each_limit_is_kept_and_one_more_is_refused(case: str) -> None:
    within, beyond, reason = BOUNDS[case]
    kept(line(**within))
    assert check(line(**beyond), b"0", KAFKA_MS) == reason


def test_no_date_that_a_table_refuses_passes_the_contract_whatever_kafkas_clock() -> None:
    last = 4_102_444_799_999  # in 2099
    for ms, shift, expected in ((last, b"0", Click), (last + 1, b"0", str), (last, b"1", str)):
        assert isinstance(check(line(DateCreated=f"/Date({ms})/"), shift, 2**62), expected)


def test_an_escaped_comma_is_part_of_its_label() -> None:
    click = kept(line(ClinicalAreas=",Ear&#44; Nose,Surgery,X&#x2C;Y"))
    assert click.clinical_areas == ("Other: Ear, Nose", "Surgery", "Other: X,Y")


FAULT_17 = {  # a JSON Schema and the lake said different things
    '"DocumentId": 1000630.0': 1000630,
    '"DocumentId": 1.5e1': 15,
    '"DocumentId": 9007199254740993.0': 9007199254740993,
    '"DocumentId": 9223372036854775807': 9223372036854775807,
    '"DocumentId": 9223372036854775808': "bad_document_id",
    '"DocumentId": 9223372036854775808.0': "bad_document_id",
    '"DocumentId": 9007199254740993.5': "bad_document_id",
    '"DocumentId": 1e99999999999': "bad_document_id",
    '"DocumentId": 1e-99999999999': "bad_document_id",
    '"DocumentId": 42, "DocumentId": 5': "not_json",
}


@pytest.mark.parametrize("spelt", FAULT_17)
def test_document_ids_are_read_however_they_are_spelt(spelt: str) -> None:
    found = check(PLAIN.replace(b'"DocumentId": 42', spelt.encode()), b"0", KAFKA_MS)
    assert (found if isinstance(found, str) else found.document_id) == FAULT_17[spelt]


def growing(field: str, text: str) -> Callable[[int], bytes]:
    return lambda n: line(**{field: text * n})


GROWING: dict[str, Callable[[int], bytes]] = {
    **{f"{field} of {text}": growing(field, text)
       for field in ("SessionId", "DateCreated", *TEXTS)
       for text in ("&lt;", "&#44;", ",a", "&", " ", "\x01", "\ud800")},
    "documents": lambda n: line(Documents=[42] * n),
    "documents of fractions": lambda n: line(Documents=[1.5] * n),
    "a document id of digits": lambda n: raw("DocumentId", b"9" * n),
    "a fraction of digits": lambda n: raw("DocumentId", b"1." + b"0" * n),
    "extra keys": lambda n: line(**{f"k{number}": 1 for number in range(n)}),
    "extra keys, nested": lambda n: line(Extra=[{"a": 1}] * n),
    "brackets": lambda n: b"[" * n,
    "brackets in a text": lambda n: line(Extra="[" * n),
    "strings without an end": lambda n: line(Extra="[" * 600)[:-2] + b'\\"' * n,
    "backslashes": lambda n: line(Title="x")[:-2] + b"\\" * n,
    "commas behind": lambda n: PLAIN + b"," * n,
    "blanks around": lambda n: b" " * n + PLAIN + b" " * n,
    "control characters around": lambda n: b"\x01" * n + PLAIN,
    "BOMs": lambda n: b"\xef\xbb\xbf" * n + PLAIN,
    "not UTF-8": lambda n: PLAIN + b"\xff" * n,
}  # fmt: skip


def seconds(value: bytes) -> float:
    """On this thread's own clock, without looks for garbage among all that the tests hold, as in Spark's workers."""
    gc.disable()
    try:
        started = time.thread_time()
        check(value, b"0", KAFKA_MS)
        return time.thread_time() - started
    finally:
        gc.enable()


@pytest.mark.parametrize("what", GROWING)
def test_time_is_linear_in_each_field(what: str) -> None:
    """Sixteen times the length takes about sixteen times as long; quadratic time would be 256 times as long."""
    short, long = GROWING[what](12_500), GROWING[what](200_000)
    assert any(seconds(long) < 80 * seconds(short) + 0.02 for _ in range(10))
