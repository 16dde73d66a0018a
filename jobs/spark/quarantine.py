"""The quarantine of the curated stream: count, list or replay its records, or remove clicks into it.

A replay, after a fix of the contract, checks them again and moves valid ones to the clicks. A removal moves clicks
that should not be there, by their places in Kafka; only a replay with --removed brings them back. Either may be killed
at any moment and run again: no click is written twice.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from jobs.arguments import positive_int, true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.contract import CONTRACT_VERSION
from jobs.errors import JobError
from jobs.event import SHIFT_HEADER
from jobs.spark import tables
from jobs.spark.delta_log import is_table
from jobs.spark.hot_marts import EPOCH, micros
from jobs.spark.one_writer import fence, one_writer
from jobs.spark.session import session
from jobs.spark.tables import sql_name
from jobs.spark.writer import append_missing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PLACES: Final = "topic/partition/offset of clicks to remove; with @kafka_ts where a recreated topic has two of these"
EXCERPT: Final = 100  # characters of a raw record, on one line
REMOVED: Final = "removed"  # the reason of a valid click in quarantine
_CHECKED: Final = "checked_again"
# By their places: a record whose commit was in flight when the lease was lost stays, whenever it arrives.
_MOVE: Final = f"""
    MERGE INTO {{quarantine}} AS known USING {_CHECKED} AS now
    ON {" AND ".join(f"known.`{name}` = now.`{name}`" for name in tables.PLACE)}
    WHEN MATCHED AND now.reason IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET reason = now.reason, contract_version = {CONTRACT_VERSION}
"""


class Place(NamedTuple):
    """The place of a record in Kafka; a recreated topic repeats its offsets, and `at` (kafka_ts) tells them apart."""

    topic: str
    partition: int
    offset: int
    at: dt.datetime | None = None

    def __str__(self) -> str:
        when = f"@{self.at:%Y-%m-%dT%H:%M:%S.%fZ}" if self.at else ""
        return f"{self.topic}/{self.partition}/{self.offset}{when}"

    @property
    def anytime(self) -> Place:
        """Any record with this offset."""
        return self._replace(at=None)


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


def place(text: str) -> Place:
    """topic/partition/offset, or topic/partition/offset@kafka_ts."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)/([0-9]{1,9})/([0-9]{1,18})(?:@(.+Z))?", text)
    try:
        if match:
            at = dt.datetime.fromisoformat(match[4]) if match[4] else None
            return Place(match[1], int(match[2]), int(match[3]), at)
    except ValueError:
        pass  # no time
    raise argparse.ArgumentTypeError(f"{text!r} is not a valid place: write it as tripclick.clicks/0/4711") from None


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


def records(quarantine: DataFrame) -> DataFrame:
    """Quarantined records as they came from Kafka, each once, with the header that the producer sets."""
    from pyspark.sql import functions as F

    # An invalid shift stays unknown: its bytes are in the raw archive only.
    shift = F.encode(F.coalesce(F.col("shift_ms").cast("string"), F.lit("?")), "UTF-8")
    header = F.struct(F.lit(SHIFT_HEADER).alias("key"), shift.alias("value"))
    return quarantine.dropDuplicates(tables.PLACE).withColumn("headers", F.array(header)).drop("reason")


def replay(spark: SparkSession, clicks_path: str, quarantine_path: str, *, removed: bool = False) -> None:
    """Check the quarantined records by today's contract; those that are valid now become clicks.

    Removed ones stay as they are, unless `removed`. First the clicks are written, those that are not
    there yet; then they leave the quarantine. After a kill between the two steps they are in both tables, and the next
    replay finishes. The others get today's reason. Only for the tables' one writer.
    """
    from pyspark.sql import functions as F

    from jobs.spark import events

    before = spark.read.format("delta").load(quarantine_path)
    stays = F.lit(False) if removed else F.col("reason") == REMOVED
    checked = events.check(records(before.where(~stays))).persist()
    try:
        total = checked.count()
        valid = total - events.invalid(checked).count()
        if valid:
            written = append_missing(events.clicks(checked), clicks_path)
            checked.createOrReplaceTempView(_CHECKED)
            fence()
            spark.sql(_MOVE.format(quarantine=sql_name(quarantine_path))).collect()
            say(f"wrote {written:,} clicks to {clicks_path}")
    finally:
        checked.unpersist()
    say(f"checked {total:,} quarantined records again: {valid:,} are valid now, {total - valid:,} stay")


@dataclass(frozen=True)
class Removal:
    """Which clicks are removed, by whom, and why."""

    places: frozenset[Place]
    by: str
    why: str

    @property
    def condition(self) -> str:
        """The condition that a row is at one of its places. The plain offsets let Delta skip files."""
        offsets = ", ".join(f"{one.offset}L" for one in self.places)
        # argparse has accepted only names without quotes.
        anytime = ", ".join(f"('{one.topic}', {one.partition}, {one.offset}L)" for one in self.places if not one.at)
        timed = ", ".join(
            f"('{one.topic}', {one.partition}, {one.offset}L, timestamp_micros({micros(one.at)}L))"
            for one in self.places
            if one.at
        )
        among = {"(topic, `partition`, offset)": anytime, "(topic, `partition`, offset, kafka_ts)": timed}
        either = " OR ".join(f"{columns} IN ({places})" for columns, places in among.items() if places)
        return f"offset IN ({offsets}) AND ({either})"


def remove(spark: SparkSession, clicks_path: str, quarantine_path: str, archive_path: str, removal: Removal) -> None:
    """Move clicks to the quarantine: their raw bytes from the archive, reason REMOVED, removed_by and removed_why.

    They enter the quarantine before they leave the clicks, so the next removal finishes a killed one. JobError, and
    nothing is done, if a place has no click, has one in each of two topics of that name, or the archive lacks
    it. For the tables' one writer.
    """
    from pyspark.sql import functions as F

    all_clicks = spark.read.format("delta").load(clicks_path)
    clicks = all_clicks.where(removal.condition)
    gone = spark.read.format("delta").load(quarantine_path).where(removal.condition).where(F.col("reason") == REMOVED)
    archived = spark.read.format("delta").load(archive_path).where(removal.condition)
    found = _places(clicks) | _places(gone)
    _refuse(removal.places - found - {one.anytime for one in found}, f"no click in {clicks_path}")
    times = Counter(one.anytime for one in found)
    twice = {one for one in found if one.anytime in removal.places and times[one.anytime] > 1}
    _refuse(
        twice,
        "the topic was deleted and recreated, so there are several: write the one to remove exactly as shown here",
    )
    _refuse(_places(clicks.join(archived, on=tables.PLACE, how="left_anti")), f"not in the raw archive {archive_path}")

    copies = all_clicks.join(clicks.select("event_id"), on="event_id", how="left_semi").where(
        f"NOT ({removal.condition})"
    )
    for copy in sorted(map(str, _places(copies))):
        say(f"{copy} is a copy of one of them and stays: the marts count it instead")
    new = archived.join(clicks, on=tables.PLACE, how="left_semi").join(gone, on=tables.PLACE, how="left_anti")
    fence()
    _removed(new, removal).write.format("delta").mode("append").option("mergeSchema", "true").save(quarantine_path)
    fence()
    deleted = spark.sql(f"DELETE FROM {sql_name(clicks_path)} WHERE {removal.condition}").collect()[0][0]
    say(f"moved {deleted:,} clicks from {clicks_path} to {quarantine_path}")


def _places(rows: DataFrame) -> set[Place]:
    from pyspark.sql import functions as F

    found = rows.select("topic", "partition", "offset", F.unix_micros("kafka_ts")).collect()
    return {Place(topic, number, offset, EPOCH + dt.timedelta(microseconds=at)) for topic, number, offset, at in found}


def _refuse(places: Iterable[Place], why: str) -> None:
    shown = ", ".join(sorted(map(str, places)))
    if shown:
        raise JobError(f"{shown}: {why}; nothing was removed")


def _removed(archived: DataFrame, removal: Removal) -> DataFrame:
    """Records of the archive as rows of the quarantine, with removed_by and removed_why."""
    from pyspark.sql import functions as F

    named = F.filter("headers", lambda header: header["key"] == SHIFT_HEADER)
    shift = F.get(named, F.lit(0))["value"].cast("string").cast("bigint")
    added = {
        "shift_ms": F.coalesce(shift, F.lit(0)),
        "reason": F.lit(REMOVED),
        "contract_version": F.lit(CONTRACT_VERSION),
        "quarantined_ts": F.current_timestamp(),
        "removed_by": F.lit(removal.by),
        "removed_why": F.lit(removal.why),
    }
    return archived.withColumns(added).select(*tables.QUARANTINE_COLUMNS, "removed_by", "removed_why")


def run(options: argparse.Namespace) -> None:
    """Do what --action says."""
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
