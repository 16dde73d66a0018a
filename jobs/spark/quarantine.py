"""The quarantine of the curated stream: count its records, list them, or check them again and move the valid ones.

A replay is for after a fix of the contract. It may be killed at any moment and run again: no click is written twice.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from jobs.cli import Data, JobError, flow, main, positive_int, say
from jobs.event import CONTRACT_VERSION, SHIFT_HEADER
from jobs.spark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EXCERPT: Final = 100  # characters of a raw record, on one line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="quarantine", description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--action", choices=["count", "list", "replay"], default="count")
    result.add_argument("--limit", type=positive_int, default=20, help="how many to list, the newest first")
    both = [Data("lake", tables.table_path("{curated-path}", name)) for name in (tables.CLICKS, tables.QUARANTINE)]
    flow(result, reads=both, writes=both)
    return result


def counts(quarantine: "DataFrame") -> "DataFrame":
    """records by reason, day (of kafka_ts, UTC) and contract_version."""
    from pyspark.sql import functions as F

    day = F.to_date("kafka_ts").alias("day")
    return quarantine.groupBy("reason", day, "contract_version").agg(F.count("*").alias("records"))


def excerpt(value: bytes | None) -> str:
    """The beginning of a raw record on one line that any terminal and any log takes."""
    text = (value or b"").decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text[:EXCERPT])
    return shown[:EXCERPT] + ("…" if max(len(text), len(shown)) > EXCERPT else "")


def records(quarantine: "DataFrame") -> "DataFrame":
    """Quarantined records as they came from Kafka, each once, with the header that the producer sets."""
    from pyspark.sql import functions as F

    # A shift that was no number is none again: its bytes are in the archive raw only.
    shift = F.encode(F.coalesce(F.col("shift_ms").cast("string"), F.lit("?")), "UTF-8")
    header = F.struct(F.lit(SHIFT_HEADER).alias("key"), shift.alias("value"))
    return quarantine.dropDuplicates(tables.PLACE).withColumn("headers", F.array(header)).drop("reason")


def replay(spark: "SparkSession", clicks_path: str, quarantine_path: str) -> None:
    """Check the quarantined records by the contract of today; those that are valid now become clicks.

    The clicks are written first, those of them that are not there yet, and leave the quarantine then: after a kill
    between the two steps they are in both tables, and the next replay ends the work. For the tables' one writer.
    """
    from pyspark.sql import functions as F

    from jobs.spark import events
    from jobs.spark.writer import append_missing, fence

    before = spark.read.format("delta").load(quarantine_path)
    checked = events.check(records(before)).persist()
    try:
        total, left = checked.count(), events.invalid(checked)
        valid = total - left.count()
        if valid:
            written = append_missing(events.clicks(checked), clicks_path)
            # The others have the reason that today's contract finds.
            again = left.withColumn("contract_version", F.lit(CONTRACT_VERSION)).select(*tables.QUARANTINE_COLUMNS)
            fence()
            again.write.format("delta").mode("overwrite").save(quarantine_path)
            say(f"wrote {written:,} clicks to {clicks_path}")
    finally:
        checked.unpersist()
    say(f"checked {total:,} quarantined records again: {valid:,} are valid now, {total - valid:,} stay")


def run(options: argparse.Namespace) -> None:
    """Do what --action says."""
    from jobs.spark.session import session
    from jobs.spark.writer import is_table, one_writer

    spark = session("quarantine")
    clicks, path = (tables.table_path(options.curated_path, name) for name in (tables.CLICKS, tables.QUARANTINE))
    if not is_table(spark, path):
        raise JobError(f"there is no quarantine in {path}: run tripclick_streaming_curated first")
    if options.action == "replay":
        with one_writer(spark, clicks):
            replay(spark, clicks, path)
    elif options.action == "count":
        rows = counts(spark.read.format("delta").load(path)).orderBy("day", "reason", "contract_version").collect()
        for row in rows:
            say(f"{row.day} {row.reason}: {row.records:,} (contract {row.contract_version})")
        say(f"{sum(row.records for row in rows):,} records in {path}")
    else:
        newest = spark.read.format("delta").load(path).orderBy("kafka_ts", "offset", ascending=False)
        for row in newest.limit(options.limit).collect():
            place = f"{row.topic} partition {row.partition} offset {row.offset}"
            say(f"{row.kafka_ts:%Y-%m-%d %H:%M:%S} {place} {row.reason}: {excerpt(row.value)}")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
