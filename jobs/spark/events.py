"""Records of Kafka → valid clicks and quarantined records, by the contract (jobs/contract.py) in Python workers.

A record is a row (topic, partition, offset, kafka_ts, key, value, headers). `check` decides on each; `clicks` and
`quarantine` then split them: every record is in exactly one of the two.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.contract import CONTRACT_VERSION
from jobs.spark.contract_arrow import checked as checked_batches
from jobs.spark.jvm import map_in_arrow
from jobs.spark.tables import CHECKED_COLUMNS, CLICKS_COLUMNS, QUARANTINE_COLUMNS

_RECORD: Final = ("topic", "partition", "offset", "kafka_ts", "key", "value", "headers")


def check(records: DataFrame) -> DataFrame:
    """Records + other columns → CHECKED_COLUMNS + the others; reason is null of a valid click."""
    known = {*_RECORD, *CHECKED_COLUMNS}
    others = {field.name: field.dataType.simpleString() for field in records.schema if field.name not in known}
    return map_in_arrow(records, checked_batches, {**CHECKED_COLUMNS, **others})


def clicks(checked: DataFrame) -> DataFrame:
    """The valid ones of `check`, as rows of the table clicks."""
    return checked.where(F.col("reason").isNull()).select(*CLICKS_COLUMNS)


def invalid(checked: DataFrame) -> DataFrame:
    """The rows of `check` that are not valid clicks."""
    return checked.where(F.col("reason").isNotNull())


def quarantine(checked: DataFrame) -> DataFrame:
    """The others, as rows of the table quarantine: raw bytes, place in Kafka, reason."""
    return (
        invalid(checked)
        .withColumn("contract_version", F.lit(CONTRACT_VERSION))
        .withColumn("quarantined_ts", F.current_timestamp())
        .select(*QUARANTINE_COLUMNS)
    )


def summary(checked: DataFrame) -> list[Row]:
    """One row per reason (null: valid): reason, records, newest_s (epoch seconds), first (partition, offset)."""
    return (
        checked.groupBy("reason")
        .agg(
            F.count("*").alias("records"),
            (F.unix_millis(F.max("kafka_ts")) / 1000).alias("newest_s"),
            F.min(F.struct("partition", "offset")).alias("first"),
        )
        .orderBy("reason")
        .collect()
    )
