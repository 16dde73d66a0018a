"""The contract of a click: the bytes of a record → a click, or the reason why it is none. Plain Python, no Spark.

`check` decides on one record in one pass, in time linear in its length. The stream, the quarantine's replay, the
tests and the JSON Schema (`schemas/event.schema.json`) all use it. Bounds are checked before any work on a field.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from html.entities import name2codepoint
from typing import Annotated, Any, Final, NamedTuple, TypeGuard

import msgspec

from jobs.event import CLINICAL_AREAS, MAX_EVENT_AHEAD, UNKNOWN_AREA, event_id

CONTRACT_VERSION: Final = 2  # raise it when a record would become a different row than before

MAX_SESSION_ID: Final = 100  # characters; 24 are usual, and a key of PostgreSQL must stay short
MAX_TEXT: Final = 10_000  # characters of any other text
MAX_AREAS: Final = 32  # labels per click; 29 are known
MAX_AREA: Final = 100  # characters of a label, which is a key of PostgreSQL
MAX_DOCUMENTS: Final = 20  # per result page; a longer list is not one
MAX_DEPTH: Final = 500  # of JSON; parsers refuse much deeper nesting, each at a different depth
MAX_NUMBER: Final = 1000  # characters of a number
MAX_BIGINT: Final = 2**63 - 1

MIN_TS: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MAX_TS: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)  # whatever the record's timestamp in Kafka is
MAX_SOURCE_AHEAD: Final = dt.timedelta(days=1)  # of that timestamp

_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_MIN_MS: Final = int(MIN_TS.timestamp()) * 1000
_MAX_MS: Final = int(MAX_TS.timestamp()) * 1000 - 1
_SOURCE_AHEAD_MS: Final = MAX_SOURCE_AHEAD // _MILLISECOND
_EVENT_AHEAD_MS: Final = MAX_EVENT_AHEAD // _MILLISECOND

Bigint = Annotated[int, msgspec.Meta(ge=-MAX_BIGINT - 1, le=MAX_BIGINT)]


class Click(NamedTuple):
    """A valid click; `_ms` are epoch milliseconds; an empty text is None."""

    event_id: str
    session_id: str
    event_ms: int
    source_ms: int
    document_id: int
    title: str | None
    url: str | None
    doi: str | None
    clinical_areas: Sequence[str]  # canonical names
    query: str | None
    documents: Sequence[int]
    click_rank: int | None  # from 1


class Line(msgspec.Struct, gc=False):
    """The fields of a line as JSON has them. A field that is absent or of another type has its empty value."""

    DateCreated: str
    SessionId: str
    DocumentId: Bigint
    Url: str
    Title: str
    DOI: str
    ClinicalAreas: str
    Keywords: str
    Documents: list[Bigint]


def check(value: bytes | None, shift: bytes | None, kafka_ms: int) -> Click | str:
    """The click in a record's `value`, or the reason (one word) why it is not valid.

    `shift` is the value of the header SHIFT_HEADER, b"0" without one; `kafka_ms` the record's timestamp in Kafka.
    """
    value = value or b""
    line = line_of(value)
    if isinstance(line, str):
        return line
    date = _DATE.fullmatch(line.DateCreated)
    source_ms, shift_ms = int(date[1]) if date else 0, shift_of(shift)
    session_id = _session_id(line.SessionId[: MAX_SESSION_ID + 1])
    reason = _refused(line, session_id) or _mistimed(source_ms, shift_ms, kafka_ms) or _too_long(line, len(value))
    return reason or _click(line, session_id, source_ms, shift_ms or 0, value)


def line_of(value: bytes) -> Line | str:
    """The fields of a record's value, or the reason why it has none."""
    if not value or value.isspace():
        return "empty"
    return _usual(value) or _unusual(value)


@lru_cache(maxsize=16)
def shift_of(shift: bytes | None) -> int | None:
    """Milliseconds of the header; None when it is not a number of up to 14 digits."""
    return int(shift) if shift is not None and _SHIFT.fullmatch(shift) else None


def clean(text: str) -> str | None:
    """Decode HTML entities once, drop control characters, collapse and trim white space; None when nothing is left."""
    return tidy(_ENTITY.sub(_decoded, text) if "&" in text else text)


def tidy(text: str) -> str | None:
    """As `clean`, but HTML entities stay as they are."""
    if text.isprintable() and "  " not in text:  # nearly all
        return text.strip(" ") or None
    return " ".join(_CONTROLS.sub("", text).split()) or None


@lru_cache(maxsize=1024)
def areas_of(labels: str) -> tuple[str, ...]:
    """A comma list of labels → the canonical names in their order, without repeats; `Other: <label>` is unmapped."""
    return tuple(area for area in dict.fromkeys(map(_area, labels.split(","))) if area)


_DATE: Final = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")  # 15 digits of ms fit a timestamp of µs
_SHIFT: Final = re.compile(rb"-?[0-9]{1,14}")
_ENTITY: Final = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,7});")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"
# The HTML 4 names, &apos;, and what browsers make of &#128; … &#159;: Windows-1252.
_CHARACTERS: Final = {
    **{name: chr(code) for name, code in name2codepoint.items()},
    "apos": "'",
    **{f"#{code}": bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)},
}
_BLANKS: Final = "\t\n\x0b\x0c\r"
_AROUND: Final = "\ufeff " + _BLANKS
_TOLERATED: Final = {code: " " if chr(code) in _BLANKS else None for code in range(0x20)}
_STRING: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?+', re.DOTALL)  # also an unterminated one, else the time is quadratic

_decode: Final = msgspec.json.Decoder(Line).decode
_TEXTS: Final = ("DateCreated", "SessionId", "Url", "Title", "DOI", "ClinicalAreas", "Keywords")
_QUOTES: Final = 2 * (len(Line.__struct_fields__) + len(_TEXTS))


def _usual(value: bytes) -> Line | None:
    """The fields of a line that has each field once, of its type, and no other field, as nearly all lines do."""
    try:
        line = _decode(value)
    except (ValueError, RecursionError):
        return None
    # The decoder accepts duplicate and unknown keys; either adds quotes, which nobody escapes.
    if value.count(b'"') != _QUOTES and value.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') != _QUOTES:
        return None
    return line


def _unusual(value: bytes) -> Line | str:
    """The fields of any other line, or the reason why it is not valid.

    Tolerated: a BOM, a trailing comma, bare control characters. Absent fields and those of another type count as empty.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    text = text.strip(_AROUND).removesuffix(",").strip(_AROUND).translate(_TOLERATED)
    try:
        fields = _parsed(text)
    except ValueError:
        return "not_json"
    return _line(fields) if isinstance(fields, dict) else "not_an_object"


def _parsed(text: str) -> object:
    """The value of a JSON text; ValueError if it is not JSON, has a duplicate key, or exceeds a bound of the parser."""
    if _is_deep(text):
        raise ValueError("too deep")
    return _decode_any(text)


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


class _Fraction(str):
    """A number with a fraction or an exponent, as written."""

    __slots__ = ()


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER:
        raise ValueError("number too long")
    return int(digits)


def _fraction(digits: str) -> _Fraction:
    if len(digits) > MAX_NUMBER:
        raise ValueError("number too long")
    return _Fraction(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(word)  # NaN, Infinity


_decode_any: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_number
).decode


def _line(fields: dict[str, Any]) -> Line:
    texts = {key: _text(fields.get(key)) for key in _TEXTS}
    return Line(DocumentId=_document_id(fields.get("DocumentId")), Documents=_page(fields.get("Documents")), **texts)


def _text(json_value: object) -> str:
    if type(json_value) is not str:
        return ""
    return _SURROGATES.sub(_REPLACEMENT, json_value)  # lone ones


def _document_id(json_value: object) -> int:
    """As in JSON Schema, 42.0 is an integer too; 0 for anything that is not a 64-bit integer."""
    if isinstance(json_value, _Fraction) and 1 <= float(json_value) <= MAX_BIGINT + 1:  # Decimal refuses 1e…9
        exact = Decimal(json_value)
        return int(exact) if exact == exact.to_integral_value() <= MAX_BIGINT else 0
    return json_value if _is_bigint(json_value) else 0


def _page(json_value: object) -> list[int]:
    return json_value if isinstance(json_value, list) and all(map(_is_bigint, json_value)) else []


def _is_bigint(json_value: object) -> TypeGuard[int]:
    return type(json_value) is int and -MAX_BIGINT <= json_value + 1 <= MAX_BIGINT + 1


def _refused(line: Line, session_id: str) -> str | None:
    """What is wrong with the click's session or document."""
    if len(line.SessionId) > MAX_SESSION_ID:
        return "bad_session_id"
    if not session_id:
        return "no_session_id"
    return "bad_document_id" if line.DocumentId <= 0 else None


def _session_id(text: str) -> str:
    """Clean it; keep one of nothing but entities of blanks as written, so that JSON Schema can define what is empty."""
    return clean(text) or tidy(text) or ""


def _mistimed(source_ms: int, shift_ms: int | None, kafka_ms: int) -> str | None:
    """What is wrong with its time."""
    if source_ms < _MIN_MS:
        return "bad_date"
    if source_ms > min(kafka_ms + _SOURCE_AHEAD_MS, _MAX_MS):
        return "future_date"
    if shift_ms is None or source_ms + shift_ms < _MIN_MS:
        return "bad_shift"
    return "future_date" if source_ms + shift_ms > min(kafka_ms + _EVENT_AHEAD_MS, _MAX_MS) else None


def _too_long(line: Line, size: int) -> str | None:
    """Which bound a text exceeds; it has at most as many characters as its `size` in bytes."""
    if size > MAX_TEXT and (reason := long_field(line, _LONG)):
        return reason
    labels = line.ClinicalAreas
    if len(labels) > MAX_AREA or labels.count(",") >= MAX_AREAS:
        return _too_many(list(filter(None, labels.split(","))))
    return None


def long_field(line: Line, fields: Iterable[str]) -> str | None:
    """The reason why one of these texts is longer than MAX_TEXT."""
    return next((_LONG[field] for field in fields if len(getattr(line, field)) > MAX_TEXT), None)


def _too_many(labels: list[str]) -> str | None:
    if len(labels) > MAX_AREAS:
        return "many_areas"
    return "long_area" if max(map(len, labels), default=0) > MAX_AREA else None


_LONG: Final = {
    "Url": "long_url",
    "Title": "long_title",
    "DOI": "long_doi",
    "ClinicalAreas": "long_areas",
    "Keywords": "long_keywords",
}


def _click(line: Line, session_id: str, source_ms: int, shift_ms: int, value: bytes) -> Click:
    document_id = line.DocumentId
    documents = line.Documents if len(line.Documents) <= MAX_DOCUMENTS else []
    query = tidy(line.Keywords)
    return Click(
        event_id(value, shift_ms),
        session_id,
        source_ms + shift_ms,
        source_ms,
        document_id,
        clean(line.Title),
        clean(line.Url),
        clean(line.DOI),
        areas_of(line.ClinicalAreas),
        query and query.lower(),
        documents,
        documents.index(document_id) + 1 if document_id in documents else None,
    )


@lru_cache(maxsize=4096)
def _area(label: str) -> str:
    """The canonical name of a label; empty for an empty label and for UNKNOWN_AREA."""
    text = clean(label)
    return _KNOWN.get(_letters(text), f"Other: {text}") if text else ""


def _letters(label: str) -> str:
    return "".join(filter(str.isalpha, label.lower()))


_KNOWN: Final = {**{_letters(area): area for area in CLINICAL_AREAS}, _letters(UNKNOWN_AREA): ""}


def _decoded(entity: re.Match[str]) -> str:
    """What an entity stands for; itself if it is unknown."""
    name = entity[1]
    if name[0] != "#" or name in _CHARACTERS:
        return _CHARACTERS.get(name, entity[0])
    code = int(f"0{name[1:]}", 16 if name[1] in "xX" else 10)
    is_character = 0 < code <= sys.maxunicode and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_character else _REPLACEMENT
