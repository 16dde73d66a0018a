"""Which months a task computes: enough consecutive ones, and the days before them for comparison.

Months, not days: a month is one file of each mart, and only few days are read by two tasks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from jobs.spark.partition_sql import PART

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame


def month_of(day: dt.date) -> int:
    """The months since the year 0."""
    return day.year * 12 + day.month - 1


def month_in(day: Column | str) -> Column:
    """The same for a column of dates."""
    from pyspark.sql import functions as F

    return F.year(day) * 12 + F.month(day) - 1


def days_of(month: int) -> list[dt.date]:
    """The days of a month, which is numbered as by month_of."""
    first, after = (dt.date(number // 12, number % 12 + 1, 1) for number in (month, month + 1))
    return [first + dt.timedelta(days=number) for number in range((after - first).days)]


def count_by_month(clicks: DataFrame) -> dict[int, int]:
    """The number of clicks per month, copies included."""
    counted = clicks.groupBy(month_in("event_date")).count().collect()
    return {month: count for month, count in counted}  # noqa: C416  (Rows)


def packed(clicks: Mapping[int, int], enough: int) -> dict[int, int]:
    """The part of each month: consecutive months, as long as they have no more than enough clicks."""
    parts: dict[int, int] = {}
    part = size = 0
    for month, count in sorted(clicks.items()):
        if size and size + count > enough:
            part, size = part + 1, 0
        parts[month] = part
        size += count
    return parts


def with_days_before(months: Collection[int], days_back: int) -> Iterator[dt.date]:
    """The days of these months, and so many before each."""
    for month in months:
        days = days_of(month)
        yield from (days[0] - dt.timedelta(days=back) for back in range(1, days_back + 1))
        yield from days


def days_in_parts(parts: Mapping[int, int], days_back: int) -> pa.Table:
    """The days of each part, and so many before each of its months (`is_earlier`): event_date, part, is_earlier."""
    import pyarrow as pa

    found = {(day, part): False for month, part in parts.items() for day in days_of(month)}
    for month, part in parts.items():
        for day in with_days_before([month], days_back):
            found.setdefault((day, part), True)
    columns = pa.schema({"event_date": pa.date32(), PART: pa.int32(), "is_earlier": pa.bool_()})
    rows = ((day, part, is_earlier) for (day, part), is_earlier in found.items())
    return pa.Table.from_pylist([dict(zip(columns.names, row, strict=True)) for row in rows], columns)


def in_parts(clicks: DataFrame, parts: Mapping[int, int], days_back: int) -> DataFrame:
    """The clicks by part; `is_earlier` marks days used only for comparison, which may be in several parts."""
    from pyspark.sql import functions as F

    first, last = min(parts), max(parts)
    by_month = F.array(*(F.lit(parts.get(month)).cast("int") for month in range(first, last + 1)))

    def part_of(day: Column) -> Column:
        month = month_in(day) - first
        return F.when(month >= 0, F.get(by_month, month))

    # Far enough apart for no month to be left out; each part once, also when a month without clicks lies in between.
    own, *later = (part_of(F.date_add("event_date", days)) for days in (*range(0, days_back, 28), days_back))
    others = [F.when(~part.isin(own, *later[:number]).eqNullSafe(True), part) for number, part in enumerate(later)]
    # Spark's lambdas, such as array_compact, cost as much per row as the rest of this query.
    both = F.explode(F.array(own, *others))
    placed = clicks.select("*", both.alias(PART)).where(F.col(PART).isNotNull())
    return (
        placed.withColumn("is_earlier", ~F.col(PART).eqNullSafe(own))
        .repartitionById(max(parts.values()) + 1, PART)
        .drop(PART)
    )
