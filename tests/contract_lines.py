"""Lines of a log on which the contract is held against its golden rows: usual, odd and hostile ones, by name."""

from __future__ import annotations

import datetime as dt
import json
from html.entities import name2codepoint
from typing import Any

from jobs.event import SHIFT_HEADER
from tests.hostile import many

KAFKA_TS = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)
KAFKA_MS = int(KAFKA_TS.timestamp() * 1000)
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
TEXTS = ("Url", "Title", "DOI", "ClinicalAreas", "Keywords")


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
        [(SHIFT_HEADER, str(KAFKA_MS - SOURCE_MS + 32 * 86_400_000).encode())],
        "future_date",
    ),
}


def raw(field: str, json_text: bytes) -> bytes:
    """The usual line with other JSON text in a field's place."""
    return line(**{field: "@@"}).replace(b'"@@"', json_text)


def _in_each_text(name: str, text: str) -> dict[str, bytes]:
    return {f"{name} in {field}": line(**{field: text}) for field in ("SessionId", *TEXTS)}


_ENTITIES = "".join(f"&{name};" for name in name2codepoint)
_NUMBERS = " ".join(f"{code}&#{code};&#x{code:x};&#X{code:04X};" for code in range(0x180))
_ODD_NUMBERS = (0x2C, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xFFFE, 0xFFFF, 0x10000, 0x10FFFF, 0x110000, 999999, 9999999)
_ODD_ENTITIES = "".join(f"&#{code};&#x{code:X};" for code in _ODD_NUMBERS)
_NO_ENTITIES = "&amp;lt; &amp;amp;amp; &AMP; &Amp; &unknown; &hearts &; &#; &#x; &#-1; &#12345678; &#x1234567; && R&D"
_CONTROLS = "".join(f"{code:x}{chr(code)}" for code in range(0xA1))
_SPACES = "a\u00a0b\u1680c\u180ed\u2000e\u200af\u200bg\u2028h\u2029i\u202fj\u205fk\u3000l\ufeffm\u2060n\u00ado"
_CASES = "ÀÉ İI ıi ẞß ΣΑΣ ΑΣ. ǅ ﬁ K Å Ⅳ Ⓐ 𐐀 Ā\u0300 \u0345"
_DOCUMENT_IDS = (
    "1.0",
    "1000630.0",
    "1e3",
    "1E+3",
    "10e-1",
    "1.5e1",
    "-0",
    "0.0",
    "042",
    "+42",
    ".5",
    "5.",
    "0x2A",
    "1e400",
    "9007199254740993.0",
    "9007199254740993.5",
    "9223372036854775807",
    "9223372036854775807.0",
    "9223372036854775808",
    "9" * 38,
    "9" * 39,
    "9" * 900,
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "[42]",
    '{"a": 42}',
    '"42"',
    "2147483648",
    "-9223372036854775808",
    "1e-400",
    "1e99999999999",
)
_DOCUMENTS = (
    "[42.0]",
    "[42, 7.5]",
    "[1e3]",
    "[9223372036854775807, 42]",
    "[9223372036854775808, 42]",
    "[-1, 0, 42]",
    "[-9223372036854775808]",
    "[-9223372036854775809]",
    "[true, 42]",
    "[[42]]",
    '[{"a": 1}]',
    "[42,]",
    "{}",
    "0",
    '["42", 42]',
    "[null]",
    "[NaN]",
    f"[{'42, ' * 19}42]",
    f"[{'42, ' * 20}42]",
    f"[{'9' * 900}]",
)
_EXTRA_VALUES = (
    "1.0",
    "1e999",
    "-1e-999",
    "NaN",
    "Infinity",
    "9" * 999,
    "9" * 1001,
    "0." + "1" * 1200,
    '"\\ud83d"',
    '"\t"',
    '"\\x"',
    '"\\u12"',
    "tru",
    "'x'",
    "[1, 2",
    '"\x00"',
    "[" * 100 + "]" * 100,
    '{"a":' * 400 + "1" + "}" * 400,
)
_DATES = (
    "/Date(1357004977650)/\\n",
    "/Date(1357004977650)/ ",
    "\\n/Date(1357004977650)/",
    "/Date(1357004977650+00)/",
    "/Date(1357004977650-0500)/",
    "/Date(+1357004977650)/",
    "/Date(946684800000)/",
    "/Date(946684799999)/",
    "/Date(0)/",
    "/Date(-0)/",
    "/Date(001357004977650)/",
    "/Date(0000001357004977650)/",
    "/Date(١٢٣٤)/",
    "/DATE(1357004977650)/",
    "/Date(1357004977650)/\\u0000",
    "/Date(13570\x0004977650)/",
    "",
    "/Date()/",
    "/Date(1357004977650)/x",
)

HOSTILE: dict[str, bytes] = {
    # Frames
    "two BOMs and blanks": b"\xef\xbb\xbf \xef\xbb\xbf\t" + PLAIN + b" \xef\xbb\xbf\r\n",
    "BOM behind the comma": PLAIN + b",\xef\xbb\xbf ",
    "comma in front": b"," + PLAIN,
    "comma inside at the end": PLAIN[:-1] + b",}",
    "blanks of Unicode around": "\u00a0".encode() + PLAIN,
    "NEL around": "\u0085".encode() + PLAIN,
    "vertical tab and form feed around": b"\x0b\x0c" + PLAIN + b"\x0c",
    "NUL around": b"\x00" + PLAIN + b"\x00",
    "NUL alone": b"\x00",
    "BOM alone": b"\xef\xbb\xbf",
    "comma alone": b",",
    "half a BOM": b"\xef\xbb" + PLAIN,
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-16 without BOM": PLAIN.decode().encode("utf-16-le"),
    "comment": b"/* x */" + PLAIN,
    "single quotes": PLAIN.replace(b'"', b"'"),
    "key without quotes": PLAIN.replace(b'"DocumentId"', b"DocumentId"),
    "semicolon behind": PLAIN + b";",
    "control characters between tokens": PLAIN.replace(b", ", b"\x01,\x1f\t"),
    "control character in a key": PLAIN.replace(b"DocumentId", b"Document\x02Id"),
    "key spelt with an escape": PLAIN.replace(b"DocumentId", b"Document\\u0049d"),
    "key in other case": PLAIN.replace(b"DocumentId", b"documentId"),
    "empty object": b"{}",
    "empty array": b"[]",
    "number": b"42",
    "true": b"true",
    "null twice": b"null null",
    # Keys twice
    "unknown key twice": PLAIN[:-1] + b', "x": 1, "x": 2}',
    "Title twice": PLAIN[:-1] + b', "Title": "Statins"}',
    "Title twice, once by an escape": PLAIN[:-1] + b', "Titl\\u0065": "Statins"}',
    "key twice further down": PLAIN[:-1] + b', "x": {"y": 1, "y": 2}}',
    "same key on two levels": PLAIN[:-1] + b', "x": {"Title": 1}, "y": [{"Title": 2}]}',
    "empty key": PLAIN[:-1] + b', "": 1}',
    "quotes and backslashes in texts": line(Title='"\\" \\\\" "', Keywords='\\":"a":\\', Url="\\"),
    # Numbers
    **{f"DocumentId {text[:40]} of {len(text)}": raw("DocumentId", text.encode()) for text in _DOCUMENT_IDS},
    **{f"Documents {text[:40]} of {len(text)}": raw("Documents", text.encode()) for text in _DOCUMENTS},
    **{
        f"extra key {text[:12]!r} of {len(text)}": PLAIN[:-1] + b', "Extra": ' + text.encode() + b"}"
        for text in _EXTRA_VALUES
    },
    "deep array": b"[" * 400 + b"]" * 400,
    "brackets without end": b"[" * 500_000,
    "quotes without end": PLAIN[:-1] + b', "x": "' + b'\\"' * 300_000,
    # Bytes
    "overlong slash": PLAIN.replace(b"Statins", b"\xc0\xaf"),
    "overlong NUL": PLAIN.replace(b"Statins", b"\xc0\x80"),
    "pair of surrogates in UTF-8": PLAIN.replace(b"Statins", b"\xed\xa0\xbd\xed\xb8\x80"),
    "beyond Unicode": PLAIN.replace(b"Statins", b"\xf4\x90\x80\x80"),
    "character cut off": PLAIN.replace(b"Statins", b"\xe2\x82"),
    "not UTF-8 in an extra key": PLAIN[:-1] + b', "x": "\xff"}',
    "not UTF-8 and not JSON": b"{\xff",
    "noncharacters": line(Title="\ufffe\uffff\U0010ffff x"),
    # Surrogates by escapes
    "high surrogate before an escape": raw("Title", rb'"\ud83d\n\ude00"'),
    "two high ones and a low one": raw("Title", rb'"\ud83d\ud83d\ude00"'),
    "low before high": raw("Title", rb'"\ude00\ud83d"'),
    "pair in upper case": raw("Title", rb'"\uD83D\uDE00"'),
    "escaped backslash before a surrogate": raw("Title", rb'"\\\ud83d \\\\ud83d"'),
    "escaped surrogate before a low one": raw("Title", rb'"\\ud83d\ude00"'),
    "lone surrogate in a session": raw("SessionId", rb'"s\udc00"'),
    "lone surrogate in a label": raw("ClinicalAreas", rb'",a\ud800,Surgery"'),
    "lone surrogate in a date": raw("DateCreated", rb'"/Date(1357004977650\ud800)/"'),
    # Dates
    **{f"date {text!r}": raw("DateCreated", b'"' + text.encode() + b'"') for text in _DATES},
    # Texts
    **_in_each_text("named entities", _ENTITIES[:1500]),
    "all named entities": line(Title=_ENTITIES),
    "numbered entities": line(Title=_NUMBERS),
    "odd numbered entities": line(Title=_ODD_ENTITIES),
    **_in_each_text("what is no entity", _NO_ENTITIES),
    **_in_each_text("windows-1252", "&#128; &#x80; &#0128; &#129; &#153; &#159; &#x9f;"),
    **_in_each_text("entities of blanks", "&nbsp;a&#32;&#9;&#x0d;&ensp;&thinsp;b&#0;&#1;&#133;&zwnj;"),
    **_in_each_text("entities of nothing", "&nbsp;&#32;&#9;&#1;&#127;"),
    **_in_each_text("control characters", _CONTROLS),
    **_in_each_text("blanks of Unicode", _SPACES),
    **_in_each_text("cases", _CASES),
    **_in_each_text("blanks around", "  \t Two  words \n"),
    "entity without end": line(Title="&amp" * 100 + "&" * 100),
    "entities by the hundred": line(Title="&lt;" * 300 + "x"),
    "labels in all spellings": line(ClinicalAreas="SURGERY,sur gery,Sur-ge_ry!,OB/GYN,Womens Health,womens_health"),
    "labels of blanks": line(ClinicalAreas=", ,\t,,\u00a0,&nbsp;,Surgery,"),
    "labels of no letters": line(ClinicalAreas="123,!!!,1&2,Unknown,unknown!"),
    "labels in other letters": line(ClinicalAreas="Кардиология,心臓,SURGERYİ,ſurgery,Oncology\u0301,ﬁ"),
    "labels repeated": line(ClinicalAreas="X,x,X, X ,Surgery,surgery"),
    "escaped comma in a label": line(ClinicalAreas=",Ear&#44; Nose,Surgery"),
    "entity twice escaped in a label": line(ClinicalAreas=",Ear&amp;#44; Nose"),
    "32 labels": line(ClinicalAreas="".join(f",label {number}" for number in range(32))),
    "label of 100": line(ClinicalAreas="x" * 100),
    **{f"{field} of 10,000": line(**{field: "x" * 10_000}) for field in TEXTS if field != "ClinicalAreas"},
    "session of 100": line(SessionId="s" * 100),
    "session of 100 beyond ASCII": line(SessionId="ß" * 99 + "😀"),
}
TEXT_CASES = {
    f"text {number}": line(**dict.fromkeys(TEXTS, text), SessionId=f"s{number}")
    for number, text in enumerate(many(200))
    if len(text) <= 10_000
}
