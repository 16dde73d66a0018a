"""The quarantine of the curated stream: count, list or replay its records, or remove clicks into it.

A replay, after a fix of the contract, checks them again and moves valid ones to the clicks. A removal moves clicks
that should not be there, by their places in Kafka; only a replay with --removed brings them back. Either may be killed
at any moment and run again: no click is written twice.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from jobs.arguments import positive_int, true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.errors import JobError
from jobs.spark import tables
from jobs.spark.delta_log import is_table
from jobs.spark.one_writer import one_writer
from jobs.spark.session import session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
from jobs.spark.quarantine_removal import REMOVED, Removal, place, remove
from jobs.spark.quarantine_replay import replay

PLACES: Final = "topic/partition/offset of clicks to remove; with @kafka_ts where a recreated topic has two of these"
EXCERPT: Final = 100  # characters of a raw record, on one line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="quarantine", description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--action", choices=["count", "list", "replay", "remove"], default="count")
    result.add_argument("--limit", type=positive_int, default=20, help="how many to list, newest first")
    result.add_argument("--removed", type=true_or_false, default=False, help="also replay what was removed")
    result.add_argument("--place", type=place, nargs="+", default=[], help=PLACES)
    result.add_argument("--by", default="", help="who removes them")
    result.add_argument("--reason", default="", help="why they are removed")
    result.add_argument("--archive-path", default="", help="root folder of the raw archive, which has their bytes")
    both = [Data("lake", tables.table_path("{curated-path}", name)) for name in (tables.CLICKS, tables.QUARANTINE)]
    archive = Data("lake", tables.table_path("{archive-path}", tables.ARCHIVE))
    flow(result, reads=[*both, archive], writes=both)
    return result


def counts(quarantine: DataFrame) -> DataFrame:
    """records by reason, day (of kafka_ts, UTC) and contract_version."""
    from pyspark.sql import functions as F

    day = F.to_date("kafka_ts").alias("day")
    return quarantine.groupBy("reason", day, "contract_version").agg(F.count("*").alias("records"))


def excerpt(value: bytes | None) -> str:
    """The beginning of a raw record on one line that is safe for any terminal or log."""
    text = (value or b"").decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text[:EXCERPT])
    return shown[:EXCERPT] + ("…" if max(len(text), len(shown)) > EXCERPT else "")


def run(options: argparse.Namespace) -> None:
    """Count, list, replay or remove, as --action says. JobError if there is no quarantine, or an option is missing."""
    if options.action == "remove" and not (options.place and options.by and options.reason and options.archive_path):
        raise JobError("--action remove needs --place, --by, --reason and --archive-path")

    spark = session("quarantine")
    clicks, path = (tables.table_path(options.curated_path, name) for name in (tables.CLICKS, tables.QUARANTINE))
    if not is_table(spark, path):
        raise JobError(f"there is no quarantine in {path}: run streaming_curated first")
    if options.action == "count":
        _say_counts(spark, path)
    elif options.action == "list":
        _say_newest(spark, path, options.limit)
    else:
        with one_writer(spark, clicks):
            if options.action == "replay":
                replay(spark, clicks, path, removed=options.removed)
                return
            archive = tables.table_path(options.archive_path, tables.ARCHIVE)
            if not is_table(spark, archive):
                raise JobError(f"there is no raw archive in {archive}: run archive_raw first")
            remove(spark, clicks, path, archive, Removal(frozenset(options.place), options.by, options.reason))


def _say_counts(spark: SparkSession, path: str) -> None:
    rows = counts(spark.read.format("delta").load(path)).orderBy("day", "reason", "contract_version").collect()
    for row in rows:
        say(f"{row.day} {row.reason}: {row.records:,} (contract {row.contract_version})")
    say(f"{sum(row.records for row in rows):,} records in {path}")


def _say_newest(spark: SparkSession, path: str, limit: int) -> None:
    from pyspark.sql import functions as F

    newest = spark.read.format("delta").load(path).orderBy("kafka_ts", "offset", ascending=False).limit(limit)
    # As text: a timestamp would be in this process's time zone.
    for row in newest.withColumn("at", F.date_format("kafka_ts", "yyyy-MM-dd HH:mm:ss")).collect():
        where = f"{row.topic} partition {row.partition} offset {row.offset}"
        who = f" by {row.removed_by} ({row.removed_why})" if row.reason == REMOVED else ""
        say(f"{row['at']} UTC {where} {row.reason}{who}: {excerpt(row.value)}")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
