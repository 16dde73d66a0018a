"""A click that should not be there moves to the quarantine, with a record of who and why."""

from __future__ import annotations

import argparse
import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from jobs.console import say
from jobs.contract import CONTRACT_VERSION
from jobs.errors import JobError
from jobs.event import SHIFT_HEADER
from jobs.spark import tables
from jobs.spark.moments import micros, moment_of
from jobs.spark.one_writer import fence
from jobs.spark.tables import sql_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REMOVED: Final = "removed"  # the reason of a valid click in quarantine


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
    return {Place(topic, number, offset, moment_of(at)) for topic, number, offset, at in found}


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
