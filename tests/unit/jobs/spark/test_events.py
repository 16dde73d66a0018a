"""Spark runs the contract in its Python workers: a record becomes a click or goes to quarantine, whole, once."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from jobs.event import event_id
from jobs.spark import events, tables
from tests.clicks import RECORDS
from tests.contract_lines import HEADERS, KAFKA_TS, PLAIN, QUARANTINED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

Checked = dict[str, "Row | str"]


@pytest.fixture(scope="module")
def both(spark: SparkSession) -> DataFrame:
    """HEADERS on the usual line, then every line of QUARANTINED, checked."""
    lines: list[tuple[bytes | None, Any]] = [(PLAIN, headers) for headers, _ in HEADERS.values()]
    lines += [(value, None) for value, _ in QUARANTINED.values()]
    rows = [
        ("t", 1, offset, KAFKA_TS, b"k", bytearray(value) if value is not None else None, headers)
        for offset, (value, headers) in enumerate(lines)
    ]
    return events.check(spark.createDataFrame(rows, RECORDS)).cache()


@pytest.fixture(scope="module")
def checked(both: DataFrame) -> Checked:
    """Each case's row of the clicks, or its reason."""
    names = [*HEADERS, *QUARANTINED]
    kept = {names[row.offset]: row for row in events.clicks(both).collect()}
    refused = {names[row.offset]: row.reason for row in events.quarantine(both).collect()}
    assert not kept.keys() & refused.keys()
    assert kept.keys() | refused.keys() == set(names)
    return {**kept, **refused}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_shifts_the_click_or_quarantines_it(checked: Checked, case: str) -> None:
    row, expected = checked[case], HEADERS[case][1]
    if isinstance(row, str) or isinstance(expected, str):
        assert row == expected
        return
    source = dt.datetime(2013, 1, 1, 1, 49, 37, 650000, tzinfo=dt.UTC)
    assert row.source_ts.astimezone(dt.UTC) == source
    assert row.event_ts.astimezone(dt.UTC) == source + dt.timedelta(milliseconds=expected)
    assert row.event_date == (source + dt.timedelta(milliseconds=expected)).date()
    assert row.event_id == event_id(PLAIN, expected)


def test_quarantine_has_what_kafka_had(both: DataFrame) -> None:
    rows = {row.offset: row for row in events.quarantine(both).collect()}
    for offset, (value, reason) in enumerate(QUARANTINED.values(), len(HEADERS)):
        row = rows[offset]
        assert (row.topic, row.partition, row.kafka_ts.astimezone(dt.UTC)) == ("t", 1, KAFKA_TS)
        assert (row.key, row.value, row.reason) == (b"k", value, reason)


def test_a_click_keeps_its_place_in_kafka(checked: Checked) -> None:
    row = checked["shifted"]
    assert not isinstance(row, str)
    assert (row.topic, row.partition, row.kafka_ts.astimezone(dt.UTC)) == ("t", 1, KAFKA_TS)
    assert (row.documents, row.click_rank, row.clinical_areas) == ([7, 42, 9], 2, ["Cardiology"])


def test_columns_are_the_tables(spark: SparkSession) -> None:
    none = events.check(spark.createDataFrame([], RECORDS))

    def shape(schema: Any) -> list[tuple[str, str]]:
        return [(field.name, field.dataType.simpleString()) for field in schema]

    def declared(ddl: str) -> list[tuple[str, str]]:
        return shape(spark.createDataFrame([], ddl).schema)

    assert shape(events.clicks(none).schema) == declared(tables.CLICKS_SCHEMA)
    assert shape(events.quarantine(none).schema) == declared(tables.QUARANTINE_SCHEMA)
    assert events.clicks(none).count() == 0


def test_other_columns_stay(spark: SparkSession) -> None:
    record = ("t", 1, 0, KAFKA_TS, b"k", b"{", None, 7, ["x"])
    checked = events.check(spark.createDataFrame([record], f"{RECORDS}, mine int, `its own` array<string>"))
    assert checked.select("reason", "mine", "its own").collect() == [("not_json", 7, ["x"])]
