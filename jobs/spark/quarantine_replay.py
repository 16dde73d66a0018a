"""Quarantined records are checked again: those that are valid by today's contract become clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobs.console import say
from jobs.contract import CONTRACT_VERSION
from jobs.event import SHIFT_HEADER
from jobs.spark import tables
from jobs.spark.one_writer import fence
from jobs.spark.tables import sql_name
from jobs.spark.writer import append_missing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
from jobs.spark.quarantine_removal import REMOVED

_CHECKED: Final = "checked_again"


# By their places: a record whose commit was in flight when the lease was lost stays, whenever it arrives.
_MOVE: Final = f"""
    MERGE INTO {{quarantine}} AS known USING {_CHECKED} AS now
    ON {" AND ".join(f"known.`{name}` = now.`{name}`" for name in tables.PLACE)}
    WHEN MATCHED AND now.reason IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET reason = now.reason, contract_version = {CONTRACT_VERSION}
"""


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
