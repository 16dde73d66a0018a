"""A ceiling: all records of a topic to a Delta table in one batch, parsed by from_json or as they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobs.spark import tables
from jobs.spark.kafka_records import RECORDS_PER_TASK
from jobs.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FIELDS = """DateCreated string, SessionId string, DocumentId bigint, Url string, Title string, DOI string,
            ClinicalAreas string, Keywords string, Documents array<bigint>"""


def clicks(records: DataFrame) -> DataFrame:
    """The fields of each line, and its place."""
    from pyspark.sql import functions as F

    value = F.from_json(F.col("value").cast("string"), FIELDS).alias("click")
    millis = F.regexp_extract("DateCreated", r"\d+", 0).cast("bigint")
    return (
        records.select(value, *tables.PLACE)
        .select("click.*", *tables.PLACE)
        .withColumn("event_date", F.to_date(F.timestamp_millis(millis)))
    )


def archive(records: DataFrame) -> DataFrame:
    """Each record as it came."""
    from jobs.spark.archive_raw import rows

    return rows(records)


def main(what: str, brokers: str, topic: str, folder: str) -> None:
    """Read, write."""
    spark = session("topic_to_delta")
    source = {"kafka.bootstrap.servers": brokers, "subscribe": topic, "includeHeaders": "true"}
    source["maxRecordsPerPartition"] = str(RECORDS_PER_TASK)
    records = spark.read.format("kafka").options(**source).load().withColumnRenamed("timestamp", "kafka_ts")
    rows = {"clicks": clicks, "archive": archive}[what]
    rows(records).write.format("delta").save(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
