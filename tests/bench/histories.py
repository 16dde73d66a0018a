"""Curated streams of any length: one generated month, again and again, with other sessions, moved into the past."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from jobs.spark import tables
from jobs.spark.kafka_records import RECORDS_PER_TASK
from tests.clicks import append, append_quarantine, of_logs
from tests.spark_fixtures import small_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write_history(files: Sequence[Path], curated: Path, times: int) -> None:
    """Write the clicks of log files, one a day, so many times over below this root; the quarantine is empty."""
    spark = small_session()
    with tempfile.TemporaryDirectory() as folder:
        append(of_logs(spark, files), Path(folder))
        month = spark.read.format("delta").load(tables.table_path(folder, tables.CLICKS))
        spark.conf.set("spark.sql.files.maxRecordsPerFile", RECORDS_PER_TASK)
        append(_moved(month, len(files), times).orderBy("event_date"), curated)
    append_quarantine(spark, [], curated)
    spark.stop()


def write_shifted(files: Sequence[Path], curated: Path, shift: dt.timedelta) -> None:
    """Write the clicks of log files, moved by so much, below this root."""
    spark = small_session()
    append(of_logs(spark, files, shift // dt.timedelta(milliseconds=1)), curated)
    append_quarantine(spark, [], curated)
    spark.stop()


def write_more(files: Sequence[Path], curated: Path) -> None:
    """Append the clicks of log files to a curated stream, as the stream does it."""
    spark = small_session()
    append(of_logs(spark, files), curated)
    spark.stop()


def _moved(clicks: DataFrame, days: int, times: int) -> DataFrame:
    ago = F.col("ago").cast("int") * days
    moved = {name: F.col(name) - F.make_dt_interval(ago) for name in ("event_ts", "source_ts", "kafka_ts")}
    others = {name: F.concat_ws("-", name, "ago") for name in ("session_id", "event_id")}
    records = clicks.agg(F.max("offset")).collect()[0][0] + 1
    day = {
        "event_date": F.date_sub("event_date", ago),
        "offset": F.col("offset") + (times - 1 - F.col("ago")) * records,
    }
    return (
        clicks.crossJoin(clicks.sparkSession.range(times).toDF("ago"))
        .withColumns({**moved, **others, **day})
        .drop("ago")
    )
