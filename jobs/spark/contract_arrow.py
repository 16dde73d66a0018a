"""The contract over Arrow batches: what a Python worker of Spark runs by `mapInArrow`. No Spark is imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from jobs import contract
from jobs.contract import Click
from jobs.event import SHIFT_HEADER
from jobs.spark.tables import CHECKED_COLUMNS, CLICKS_COLUMNS, PLACE

_TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "date": pa.date32(),
    "array<string>": pa.list_(pa.string()),
    "array<bigint>": pa.list_(pa.int64()),
}
_NONE: Final = (None,) * len(Click._fields)
_NO_SHIFT: Final = b"0"


def checked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Records (topic, partition, offset, kafka_ts, key, value, headers, others) → CHECKED_COLUMNS and the others.

    One row per record, in order. For a valid click (reason null) key and value are null; for any other record the
    columns of a click are.
    """
    gc.disable()  # rows that wait for the end of their batch are not garbage: scanning them takes a sixth of the time
    try:
        yield from map(_checked, batches)
    finally:
        gc.enable()


def _checked(records: pa.RecordBatch) -> pa.RecordBatch:
    shifts = _shifts(records.column("headers"))
    kafka_us = records.column("kafka_ts").cast(pa.int64()).to_pylist()
    values = records.column("value").to_pylist()
    found = [
        contract.check(value, shift, us // 1000) for value, shift, us in zip(values, shifts, kafka_us, strict=True)
    ]
    reasons = pa.array([one if isinstance(one, str) else None for one in found], pa.string())
    columns = _clicks([_NONE if isinstance(one, str) else one for one in found])
    for name in ("key", "value"):
        columns[name] = pc.if_else(reasons.is_null(), None, records.column(name))
    columns |= {"shift_ms": pa.array(map(contract.shift_of, shifts), pa.int64()), "reason": reasons}
    for name in records.schema.names:
        if name in PLACE or name not in {*columns, "headers"}:
            columns[name] = records.column(name)
    names = [*CHECKED_COLUMNS, *(name for name in columns if name not in CHECKED_COLUMNS)]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names)


def _clicks(rows: list[Any]) -> dict[str, pa.Array]:
    """The table's columns of these clicks."""
    fields = dict(zip(Click._fields, zip(*rows, strict=True) if rows else [()] * len(_NONE), strict=True))
    event_ts, source_ts = (pa.array(fields.pop(name), pa.timestamp("ms")) for name in ("event_ms", "source_ms"))
    return {
        **{name: pa.array(column, _TYPES[CLICKS_COLUMNS[name]]) for name, column in fields.items()},
        "event_ts": event_ts.cast(pa.timestamp("us")).cast(_TIMESTAMP),
        "source_ts": source_ts.cast(pa.timestamp("us")).cast(_TIMESTAMP),
        "event_date": event_ts.cast(pa.date32()),
    }


def _shifts(headers: pa.ListArray) -> list[bytes | None]:
    """The value of each record's first SHIFT_HEADER; b"0" without one, as from a producer that does not shift."""
    flat = headers.flatten()
    named = pc.equal(flat.field("key"), SHIFT_HEADER)
    rows = pc.list_parent_indices(headers).filter(named).to_pylist()
    values = flat.field("value").filter(named).to_pylist()
    shifts: list[bytes | None] = [_NO_SHIFT] * len(headers)
    for row, value in zip(reversed(rows), reversed(values), strict=True):
        shifts[row] = value
    return shifts
