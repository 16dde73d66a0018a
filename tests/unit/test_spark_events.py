"""Every row of the table of bad records, on rows: what is kept, what is quarantined, and why."""

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from jobs.event import SHIFT_HEADER, event_id

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

RECORDS = """topic string, partition int, offset bigint, kafka_ts timestamp, key binary, value binary,
             headers array<struct<key: string, value: binary>>"""
KAFKA_TS = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
SOURCE_MS = 1357004977650
CLICK: dict[str, Any] = {
    "DateCreated": f"/Date({SOURCE_MS})/",
    "SessionId": "s0a1b2c3d4e5s0a1b2c3d4e5",
    "DocumentId": 42,
    "Url": "https://example.org/42",
    "Title": "Statins",
    "DOI": "10.1/x",
    "ClinicalAreas": ",Cardiology",
    "Keywords": "Statin  AND heart",
    "Documents": [7, 42, 9],
}
Checked = dict[str, "Row | str"]


def line(**changes: Any) -> bytes:
    """A raw line; None drops a key, `...` stands for JSON null."""
    click = {**CLICK, **changes}
    return json.dumps({k: None if v is ... else v for k, v in click.items() if v is not None}).encode()


def ms(moment: dt.datetime) -> str:
    return f"/Date({int(moment.timestamp() * 1000)})/"


PLAIN = line()

QUARANTINED = {
    "no value": (None, "empty"),
    "blank": (b" \t ", "empty"),
    "truncated": (PLAIN[:-20], "not_json"),
    "two lines in one": (PLAIN + PLAIN, "not_json"),
    "garbage behind": (PLAIN + b" x", "not_json"),
    "closed early": (PLAIN + b"] [1", "not_json"),
    "two trailing commas": (PLAIN + b",,", "not_json"),
    "two clicks and a comma": (PLAIN + b"," + PLAIN, "not_json"),
    "key twice": (b'{"SessionId": "a", "SessionId": "b"}', "not_json"),
    "too deep": (b'{"a":' * 3000 + b"1" + b"}" * 3000, "not_json"),
    "number too long": (PLAIN.replace(b"42,", b"9" * 5000 + b","), "not_json"),
    "array": (b"[" + PLAIN + b"]", "not_an_object"),
    "string": (b'"x"', "not_an_object"),
    "null": (b"null", "not_an_object"),
    "Latin-1": (PLAIN.replace(b"Statins", b"caf\xe9"), "not_utf8"),
    "surrogate in UTF-8": (PLAIN.replace(b"Statins", b"\xed\xa0\x80"), "not_utf8"),
    "no session": (line(SessionId=None), "no_session_id"),
    "session null": (line(SessionId=...), "no_session_id"),
    "session empty": (line(SessionId=""), "no_session_id"),
    "session blank": (line(SessionId=" \u0000"), "no_session_id"),
    "session is a number": (line(SessionId=5), "no_session_id"),
    "session endless": (line(SessionId="s" * 101), "bad_session_id"),
    "document 0": (line(DocumentId=0), "bad_document_id"),
    "document -1": (line(DocumentId=-1), "bad_document_id"),
    "document null": (line(DocumentId=...), "bad_document_id"),
    "document absent": (line(DocumentId=None), "bad_document_id"),
    "document is a string": (line(DocumentId="42"), "bad_document_id"),
    "document is a fraction": (line(DocumentId=4.5), "bad_document_id"),
    "document beyond 64 bits": (line(DocumentId=2**63), "bad_document_id"),
    "document is true": (line(DocumentId=True), "bad_document_id"),
    "no date": (line(DateCreated=None), "bad_date"),
    "date null": (line(DateCreated=...), "bad_date"),
    "date is a number": (line(DateCreated=SOURCE_MS), "bad_date"),
    "date in ISO": (line(DateCreated="2013-01-01"), "bad_date"),
    ".NET's no date": (line(DateCreated="/Date(-62135596800000)/"), "bad_date"),
    "1999": (line(DateCreated=ms(dt.datetime(1999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))), "bad_date"),
    "year 9999": (line(DateCreated="/Date(253402300799999)/"), "future_date"),
    "date of 15 digits": (line(DateCreated="/Date(999999999999999)/"), "future_date"),
    "date of 30 digits": (line(DateCreated=f"/Date({'9' * 30})/"), "bad_date"),
    "25 hours ahead": (line(DateCreated=ms(KAFKA_TS + dt.timedelta(hours=25))), "future_date"),
}

KEPT: dict[str, tuple[bytes, dict[str, Any]]] = {
    "as usual": (
        PLAIN,
        {
            "session_id": CLICK["SessionId"],
            "document_id": 42,
            "title": "Statins",
            "url": "https://example.org/42",
            "doi": "10.1/x",
            "clinical_areas": ["Cardiology"],
            "query": "statin and heart",
            "documents": [7, 42, 9],
            "click_rank": 2,
            "topic": "t",
            "partition": 1,
        },
    ),
    "BOM": (b"\xef\xbb\xbf" + PLAIN, {"document_id": 42}),
    "trailing comma": (PLAIN + b" , ", {"document_id": 42}),
    "line end of Windows": (PLAIN + b"\r", {"document_id": 42}),
    "extra key": (line(Extra={"a": [1]}), {"document_id": 42}),
    "offset in the date": (line(DateCreated=f"/Date({SOURCE_MS}+0900)/"), {"source_ms": SOURCE_MS}),
    "slashes escaped": (PLAIN.replace(b"/Date", rb"\/Date").replace(b")/", rb")\/"), {"source_ms": SOURCE_MS}),
    "23 hours ahead": (line(DateCreated=ms(KAFKA_TS + dt.timedelta(hours=23))), {"document_id": 42}),
    "document beyond 2^31": (line(DocumentId=2**31 + 5), {"document_id": 2**31 + 5, "click_rank": None}),
    "NUL, escaped": (line(Title="Sta\u0000tins"), {"title": "Statins"}),
    "NUL, bare": (PLAIN.replace(b"Statins", b"Sta\x00tins"), {"title": "Statins"}),
    "controls": (line(Title="\u0001 Sta\tti\r\nns\u0085x\u009f\u007f\u00a0"), {"title": "Sta ti ns x"}),
    "tab, bare": (PLAIN.replace(b"Statins", b"Sta\ttins"), {"title": "Sta tins"}),
    "named entities": (line(Title="A &amp; B &lt;C&gt; &eacute;&alpha;&nbsp;&apos;"), {"title": "A & B <C> éα '"}),
    "numeric entities": (line(Title="Crohn&#39;s &#x3B2; &#146; &#128512;"), {"title": "Crohn's β \u2019 😀"}),
    "entities decoded once": (line(Title="&amp;lt; &lt;"), {"title": "&lt; <"}),
    "no entities": (line(Title="&foo; R&D &#; &#9999999; AT&T;"), {"title": "&foo; R&D &#; \ufffd AT&T;"}),
    "entity of NUL, of a surrogate": (line(Title="a&#0;b&#xD800;"), {"title": "a\ufffdb\ufffd"}),
    "lone high surrogate": (line(Title="a\ud83d b"), {"title": "a\ufffd b"}),
    "lone low surrogate": (line(Keywords="a\ude00"), {"query": "a\ufffd"}),
    "surrogates, whole and not": (line(Title="\ud83d\ude00\ude00\ud83d\ud83d"), {"title": "😀\ufffd\ufffd\ufffd"}),
    "backslash, not a surrogate": (line(Title=r"x\ud83d"), {"title": r"x\ud83d"}),
    "empty texts": (
        line(Title="", Url="", DOI=" ", ClinicalAreas="", Keywords="\u0000 "),
        {"title": None, "url": None, "doi": None, "clinical_areas": [], "query": None},
    ),
    "absent texts": (
        line(Title=None, Url=None, DOI=..., ClinicalAreas=None, Keywords=None, Documents=None),
        {"title": None, "url": None, "doi": None, "clinical_areas": [], "query": None, "documents": []},
    ),
    "texts of other types": (
        line(Title=5, Url=[], DOI={}, ClinicalAreas=["Cardiology"], Keywords=True),
        {"title": None, "url": None, "doi": None, "clinical_areas": [], "query": None},
    ),
    "query keeps its syntax": (line(Keywords='title:"A &amp; B"~2 NOT c*'), {"query": 'title:"a &amp; b"~2 not c*'}),
    "display names and slugs": (
        line(ClinicalAreas=",emergencymedicine,Preventive_Medicine,OBGYN,otolaryngology_ent,womens health"),
        {
            "clinical_areas": [
                "Emergency Medicine",
                "Preventive Medicine",
                "OB-Gyn",
                "Otolaryngology-ENT",
                "Women's Health",
            ]
        },
    ),
    "repeated area": (line(ClinicalAreas="Cardiology,,cardiology, CARDIOLOGY "), {"clinical_areas": ["Cardiology"]}),
    "entity in an area": (line(ClinicalAreas=",Women&#39;s Health"), {"clinical_areas": ["Women's Health"]}),
    "unmapped areas": (
        line(ClinicalAreas=",Space  Medicine,Surgery,Unknown,123"),
        {"clinical_areas": ["Other: Space Medicine", "Surgery", "Other: 123"]},
    ),
    "Documents empty": (line(Documents=[]), {"documents": [], "click_rank": None}),
    "Documents null": (line(Documents=...), {"documents": [], "click_rank": None}),
    "Documents is a string": (line(Documents="7,42,9"), {"documents": [], "click_rank": None}),
    "Documents of strings": (line(Documents=["42"]), {"documents": [], "click_rank": None}),
    "Documents with null": (line(Documents=[42, None]), {"documents": [], "click_rank": None}),
    "Documents thousands long": (line(Documents=list(range(1, 3000))), {"documents": [], "click_rank": None}),
    "Documents of 20": (line(Documents=list(range(23, 43))), {"click_rank": 20}),
    "Documents without the click": (line(Documents=[7, 9]), {"documents": [7, 9], "click_rank": None}),
    "Documents with it twice": (line(Documents=[7, 42, 42]), {"click_rank": 2}),
}

HEADERS: dict[str, tuple[list[tuple[str, bytes | None]] | None, int | str]] = {
    "header absent": ([("other", b"1")], 0),
    "no headers": (None, 0),
    "shifted": ([(SHIFT_HEADER, b"420940800000")], 420940800000),
    "shifted back": ([(SHIFT_HEADER, b"-604800000")], -604800000),
    "shift is no number": ([(SHIFT_HEADER, b"x")], "bad_shift"),
    "shift is null": ([(SHIFT_HEADER, None)], "bad_shift"),
    "shift of 30 digits": ([(SHIFT_HEADER, b"9" * 30)], "bad_shift"),
    "shifted before 2000": ([(SHIFT_HEADER, b"-800000000000")], "bad_shift"),
    "shifted 32 days ahead": (
        [(SHIFT_HEADER, str(int(KAFKA_TS.timestamp() * 1000) - SOURCE_MS + 32 * 86_400_000).encode())],
        "future_date",
    ),
}


@pytest.fixture(scope="module")
def checked(spark: "SparkSession") -> Checked:
    """Each case's row of the clicks, or its reason; one Spark job for all of them."""
    from jobs.spark import events

    cases: dict[str, tuple[bytes | None, Any]] = {name: (value, None) for name, (value, _) in QUARANTINED.items()}
    cases |= {name: (value, [(SHIFT_HEADER, b"0")]) for name, (value, _) in KEPT.items()}
    cases |= {name: (PLAIN, headers) for name, (headers, _) in HEADERS.items()}
    rows = [
        ("t", 1, offset, KAFKA_TS, b"k", bytearray(value) if value is not None else None, headers)
        for offset, (value, headers) in enumerate(cases.values())
    ]
    both = events.check(spark.createDataFrame(rows, RECORDS))
    names = list(cases)
    kept = {names[row.offset]: row for row in events.clicks(both).collect()}
    refused = {names[row.offset]: row.reason for row in events.quarantine(both).collect()}
    assert not kept.keys() & refused.keys()
    assert kept.keys() | refused.keys() == set(names)
    return {**kept, **refused}


@pytest.mark.parametrize(("case", "reason"), [(name, reason) for name, (_, reason) in QUARANTINED.items()])
def test_quarantined(checked: Checked, case: str, reason: str) -> None:
    assert checked[case] == reason


@pytest.mark.parametrize(("case", "expected"), [(name, expected) for name, (_, expected) in KEPT.items()])
def test_kept(checked: Checked, case: str, expected: dict[str, Any]) -> None:
    row = checked[case]
    assert not isinstance(row, str), row
    found = {**row.asDict(), "source_ms": int(row.source_ts.astimezone(dt.UTC).timestamp() * 1000)}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("case", "expected"), [(name, expected) for name, (_, expected) in HEADERS.items()])
def test_shift(checked: Checked, case: str, expected: int | str) -> None:
    row = checked[case]
    if isinstance(row, str) or isinstance(expected, str):
        assert row == expected
        return
    source = dt.datetime(2013, 1, 1, 1, 49, 37, 650000, tzinfo=dt.UTC)
    assert row.source_ts.astimezone(dt.UTC) == source
    assert row.event_ts.astimezone(dt.UTC) == source + dt.timedelta(milliseconds=expected)
    assert row.event_date == (source + dt.timedelta(milliseconds=expected)).date()
    assert row.event_id == event_id(PLAIN, expected)


def test_columns_are_the_tables(spark: "SparkSession") -> None:
    from jobs.spark import events, tables

    both = events.check(spark.createDataFrame([], RECORDS))

    def shape(schema: Any) -> list[tuple[str, str]]:
        return [(field.name, field.dataType.simpleString()) for field in schema]

    def declared(ddl: str) -> list[tuple[str, str]]:
        return shape(spark.createDataFrame([], ddl).schema)

    assert shape(events.clicks(both).schema) == declared(tables.CLICKS_SCHEMA)
    assert shape(events.quarantine(both).schema) == declared(tables.QUARANTINE_SCHEMA)


def test_place_in_kafka(checked: Checked) -> None:
    """The place in Kafka survives, so that a record can be found again in the archive."""
    row = checked["as usual"]
    assert not isinstance(row, str)
    assert (row.topic, row.partition) == ("t", 1)
    assert row.kafka_ts.astimezone(dt.UTC) == KAFKA_TS
