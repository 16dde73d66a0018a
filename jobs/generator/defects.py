"""What `--dirty` does to the lines of a day: the defects of the contract, at their rates, counted by kind."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
DAY_MS = 86_400_000


def line_of(record: Record) -> bytes:
    """A record as a log line, without its end."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _escaped(record: Record) -> bytes:
    """As line_of, with JSON escapes for everything beyond ASCII: lone surrogates and NUL can stand only so."""
    return json.dumps(record, separators=(",", ":")).encode()


# A defect takes the record and gives the line. Those of INVALID belong into quarantine, those of VALID are clicks.
INVALID: dict[str, tuple[float, Callable[[Record], bytes]]] = {
    "truncated": (0.0004, lambda r: line_of(r)[:-20]),
    "not_utf8": (0.0003, lambda r: line_of({**r, "Title": "@@"}).replace(b"@@", b"\xff\xfe")),
    "no_session_id": (0.001, lambda r: line_of({k: v for k, v in r.items() if k != "SessionId"})),
    "empty_session_id": (0.001, lambda r: line_of({**r, "SessionId": ""})),
    "document_id_0": (0.0005, lambda r: line_of({**r, "DocumentId": 0})),
    "document_id_null": (0.0005, lambda r: line_of({**r, "DocumentId": None})),
    "document_id_text": (0.0005, lambda r: line_of({**r, "DocumentId": str(r["DocumentId"])})),
    "no_date": (0.0004, lambda r: line_of({k: v for k, v in r.items() if k != "DateCreated"})),
    "net_minimum_date": (0.0003, lambda r: line_of({**r, "DateCreated": "/Date(-62135596800000)/"})),
    "far_future_date": (0.0003, lambda r: line_of({**r, "DateCreated": "/Date(32503680000000)/"})),
}
VALID: dict[str, tuple[float, Callable[[Record], bytes]]] = {
    "trailing_comma": (0.0002, lambda r: line_of(r) + b","),
    "byte_order_mark": (0.0001, lambda r: b"\xef\xbb\xbf" + line_of(r)),
    "document_id_beyond_31_bits": (0.0005, lambda r: line_of({**r, "DocumentId": 2**31 + r["DocumentId"]})),
    "offset_in_date": (0.0005, lambda r: line_of({**r, "DateCreated": r["DateCreated"].replace(")", "+0000)")})),
    "nul_in_title": (0.001, lambda r: _escaped({**r, "Title": r["Title"] + "\x00\x07"})),
    "entity_in_title": (0.001, lambda r: line_of({**r, "Title": r["Title"] + " &amp; more &#39;words&#39;"})),
    "lone_surrogate": (0.001, lambda r: _escaped({**r, "Keywords": r["Keywords"] + " \ud83d"})),
    "documents_null": (0.0025, lambda r: line_of({**r, "Documents": None})),
    "documents_text": (0.0025, lambda r: line_of({**r, "Documents": "1,2,3"})),
    "documents_thousands": (0.0025, lambda r: line_of({**r, "Documents": list(range(1, 3000))})),
    "documents_without_the_clicked": (0.0025, lambda r: line_of({**r, "Documents": [1, 2, 3]})),
    "extra_key": (0.001, lambda r: line_of({**r, "Referrer": "synthetic"})),
    "days_late": (0.002, lambda r: line_of({**r, "DateCreated": _earlier(r["DateCreated"])})),
}
DUPLICATE_SHARE = 0.01
OUT_OF_ORDER_SHARE = 0.03
OUT_OF_ORDER_LINES = 10  # about ten minutes of a day at scale 1


def _earlier(date: str) -> str:
    return f"/Date({int(date[6:-2]) - 2 * DAY_MS})/"


def dirty_lines(records: list[Record], rng: random.Random) -> tuple[list[bytes], int, Counter[str]]:
    """The lines of a day with its defects, how many distinct valid clicks they hold, and how many of each defect."""
    counts: Counter[str] = Counter()
    valid: set[bytes] = set()
    lines: list[bytes] = []
    table = {**INVALID, **VALID}
    kinds, weights = list(table), [share for share, _ in table.values()]
    for record in records:
        kind = rng.choices([*kinds, ""], [*weights, 1 - sum(weights)])[0]
        line = table[kind][1](record) if kind else line_of(record)
        counts.update([kind] if kind else [])
        lines.append(line)
        if kind not in INVALID:
            valid.add(line)
        if not kind and rng.random() < DUPLICATE_SHARE:
            counts["duplicate"] += 1
            lines.append(line)
    _disorder(lines, rng, counts)
    return lines, len(valid), counts


def _disorder(lines: list[bytes], rng: random.Random, counts: Counter[str]) -> None:
    for place in range(len(lines)):
        if rng.random() < OUT_OF_ORDER_SHARE:
            other = min(len(lines) - 1, place + rng.randint(1, OUT_OF_ORDER_LINES))
            lines[place], lines[other] = lines[other], lines[place]
            counts["out_of_order"] += 1
