"""The contract over Arrow batches, without Spark: one row per record, in order, whatever the headers are."""

from __future__ import annotations

import gc

import pyarrow as pa

from jobs.event import SHIFT_HEADER, event_id
from jobs.spark.contract_arrow import checked
from jobs.spark.tables import CHECKED_COLUMNS
from tests.contract_lines import HEADERS, KAFKA_TS, PLAIN

HEADER = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_ts", pa.timestamp("us", tz="UTC")),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", HEADER),
        ("mine", pa.int32()),
    ]
)


def batch(*records: tuple[bytes | None, list[tuple[str, bytes | None]] | None]) -> pa.RecordBatch:
    rows = [("t", 1, n, KAFKA_TS, b"k", value, headers, n * 7) for n, (value, headers) in enumerate(records)]
    return pa.RecordBatch.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def test_each_record_is_a_click_or_has_a_reason() -> None:
    twice: list[tuple[str, bytes | None]] = [("x", b"1"), (SHIFT_HEADER, b"5"), (SHIFT_HEADER, b"6")]
    records = [(b"{", None), *((PLAIN, headers) for headers, _ in HEADERS.values()), (PLAIN, twice), (None, [])]
    found = list(checked(iter([batch(), batch(*records), batch(*records).slice(1, 3)])))
    assert all(one.schema.names == [*CHECKED_COLUMNS, "mine"] for one in found)
    none, rows, part = (one.to_pylist() for one in found)
    expected = ["not_json", *(what for _, what in HEADERS.values()), 5, "empty"]
    for n, (row, what) in enumerate(zip(rows, expected, strict=True)):
        assert (row["offset"], row["mine"], row["kafka_ts"]) == (n, n * 7, KAFKA_TS)
        if isinstance(what, str):
            assert (row["reason"], row["key"], row["value"]) == (what, b"k", records[n][0])
            assert row["event_id"] is None
        else:
            assert (row["reason"], row["key"], row["value"], row["shift_ms"]) == (None, None, None, what)
            assert (row["event_id"], row["event_date"]) == (event_id(PLAIN, what), row["event_ts"].date())
    assert (none, part) == ([], rows[1:4])
    assert gc.isenabled()
