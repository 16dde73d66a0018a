"""Curated clicks for tests of the marts: as rows that a test writes down, or as the lake makes them of log files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from jobs.event import SHIFT_HEADER
from jobs.spark import events
from jobs.spark.delta_log import CHANGE_FEED
from jobs.spark.tables import (
    CLICKS,
    CLICKS_SCHEMA,
    QUARANTINE,
    QUARANTINE_SCHEMA,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RECORDS = """topic string, partition int, offset bigint, kafka_ts timestamp, key binary, value binary,
             headers array<struct<key: string, value: binary>>"""
# Of the generator's defects those that make a record invalid, and why it is quarantined then.
REASONS = {
    "truncated": "not_json",
    "not_utf8": "not_utf8",
    "no_session_id": "no_session_id",
    "empty_session_id": "no_session_id",
    "document_id_0": "bad_document_id",
    "document_id_null": "bad_document_id",
    "document_id_text": "bad_document_id",
    "no_date": "bad_date",
    "net_minimum_date": "bad_date",
    "far_future_date": "future_date",
}
NOON = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)


def at(seconds: float = 0, *, days: float = 0) -> dt.datetime:
    """A moment around NOON."""
    return NOON + dt.timedelta(days=days, seconds=seconds)


def click(event_ts: dt.datetime = NOON, session_id: str = "s", document_id: int = 1, **changes: Any) -> dict[str, Any]:
    """A curated click; its event_id is made of the rest, unless given."""
    values = {"session_id": session_id, "event_ts": event_ts, "document_id": document_id, "title": "T", **changes}
    return {
        "event_id": repr(sorted(values.items())),
        "event_date": event_ts.astimezone(dt.UTC).date(),
        "clinical_areas": [],
        **values,
    }


def frame(spark: SparkSession, clicks: Iterable[dict[str, Any]]) -> DataFrame:
    """Clicks as a table of the curated stream; what they do not say is null."""
    return _rows(spark, clicks, CLICKS_SCHEMA)


def append(clicks: DataFrame, curated: Path) -> None:
    """Append to the curated stream below this root."""
    _append(clicks, curated / CLICKS)


def of_logs(
    spark: SparkSession, files: Sequence[Path], shift_ms: int = 0, kafka_ts: dt.datetime | None = None
) -> DataFrame:
    """The valid clicks of log files, as a producer sends them and the lake checks them."""
    return events.clicks(_checked(spark, _lines(files), shift_ms, kafka_ts))


def append_logs(spark: SparkSession, files: Sequence[Path], curated: Path, shift_ms: int = 0) -> None:
    """Append the valid clicks of log files to the curated stream below this root, and the others to its quarantine."""
    append_lines(spark, _lines(files), curated, shift_ms)


def append_lines(
    spark: SparkSession, lines: Iterable[bytes], curated: Path, shift_ms: int = 0, first_offset: int = 0
) -> None:
    """The same of lines."""
    checked = _checked(spark, lines, shift_ms, first_offset=first_offset).persist()
    append(events.clicks(checked), curated)
    _append(events.quarantine(checked), curated / QUARANTINE)
    checked.unpersist()


def append_quarantine(spark: SparkSession, records: Iterable[dict[str, Any]], curated: Path) -> None:
    """Append quarantined records; what they do not say is null."""
    _append(_rows(spark, records, QUARANTINE_SCHEMA), curated / QUARANTINE)


def _rows(spark: SparkSession, rows: Iterable[Mapping[str, Any]], schema: str) -> DataFrame:
    """By way of Arrow: Spark would send lists of Python through Python workers."""
    columns: Any = StructType.fromDDL(schema)
    table = pa.Table.from_pylist(list(rows), to_arrow_schema(columns, timezone="UTC"))
    found: DataFrame = spark.createDataFrame(table, columns)
    return found


def _append(rows: DataFrame, table: Path) -> None:
    """As the stream does it: a table notes its changes."""
    rows.write.format("delta").mode("append").option(CHANGE_FEED, "true").save(str(table))


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    return (line for file in files for line in file.read_bytes().split(b"\n") if line)


def _checked(
    spark: SparkSession,
    lines: Iterable[bytes],
    shift_ms: int,
    kafka_ts: dt.datetime | None = None,
    first_offset: int = 0,
) -> DataFrame:
    """Lines as records of one partition, checked."""
    sent = kafka_ts or dt.datetime.now(dt.UTC)
    same = {"topic": "t", "partition": 0, "kafka_ts": sent}
    same |= {"headers": [{"key": SHIFT_HEADER, "value": str(shift_ms).encode()}]}
    records = ({**same, "offset": offset, "value": line} for offset, line in enumerate(lines, first_offset))
    return events.check(_rows(spark, records, RECORDS))
