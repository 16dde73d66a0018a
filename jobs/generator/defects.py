"""What `--dirty` does to the lines of a day: the defects of the contract, at their rates, counted by kind."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
DAY_MS = 86_400_000


def line_of(record: Record) -> bytes:
    """A record as a log line, without line end."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _escaped(record: Record) -> bytes:
    """As line_of, with JSON escapes for everything beyond ASCII: lone surrogates and NUL can stand only so."""
    return json.dumps(record, separators=(",", ":")).encode()


# A defect turns a record into a line. Those in INVALID belong in quarantine, those in VALID are clicks.
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
    "days_late": (0.002, lambda r: line_of(_days_late(r))),
}
DUPLICATE_SHARE = 0.01
OUT_OF_ORDER_SHARE = 0.03
OUT_OF_ORDER_MS = 600_000  # at most, unless the line is one of `days_late`


def _ms(record: Record) -> int:
    return int(record["DateCreated"][6:-2])


def _days_late(record: Record) -> Record:
    return {**record, "DateCreated": f"/Date({_ms(record) - 2 * DAY_MS})/"}


@dataclass
class Content:
    """A day's lines in the order of the file, and the truth about them."""

    lines: list[bytes]
    clicks: int  # distinct valid ones
    sessions: int  # ids of the valid clicks
    defects: Counter[str]


def dirty_content(records: list[Record], rng: random.Random) -> Content:
    """The lines of a day with its defects; `records` are in order of time."""
    defects: Counter[str] = Counter()
    valid: dict[bytes, str] = {}
    arrivals: list[tuple[int, bytes]] = []
    table = INVALID | VALID
    kinds, weights = [*table, ""], [share for share, _ in table.values()]
    weights.append(1 - sum(weights))
    for record in records:
        kind = rng.choices(kinds, weights)[0]
        line = table[kind][1](record) if kind else line_of(record)
        if kind:
            defects[kind] += 1
        if kind not in INVALID:
            valid[line] = record["SessionId"]
        delay = _delay_ms(rng, defects)
        arrivals.append((_ms(record) + delay, line))
        if not kind and rng.random() < DUPLICATE_SHARE:
            defects["duplicate"] += 1
            arrivals.append((_ms(record) + delay, line))
    lines = [line for _, line in sorted(arrivals, key=lambda arrival: arrival[0])]
    return Content(lines, len(valid), len(set(valid.values())), defects)


def _delay_ms(rng: random.Random, defects: Counter[str]) -> int:
    if rng.random() >= OUT_OF_ORDER_SHARE:
        return 0
    defects["out_of_order"] += 1
    return rng.randrange(1, OUT_OF_ORDER_MS)
