"""The generator's dirty days: exactly the clicks of the ground truth are kept, and each defect has its reason."""

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.generator.__main__ import write_day
from tests.clicks import REASONS
from tests.unit.test_spark_events import KAFKA_TS, RECORDS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_dirty_day(spark: "SparkSession", tmp_path: Path) -> None:
    from jobs.spark import events

    day = dt.date(2013, 1, 2)
    write_day(tmp_path, day, scale=1, seed=1, dirty=True)
    lines = (tmp_path / f"{day}.json").read_bytes().removesuffix(b"\n").split(b"\n")
    truth = json.loads((tmp_path / "truth" / f"{day}.json").read_text(encoding="utf-8"))
    assert len(lines) == truth["lines"]

    rows = [("t", 0, offset, KAFKA_TS, None, bytearray(line), None) for offset, line in enumerate(lines)]
    checked = events.check(spark.createDataFrame(rows, RECORDS)).persist()
    kept = events.clicks(checked).collect()
    reasons = {row.reason: row.records for row in events.summary(checked) if row.reason}
    checked.unpersist()

    expected: Counter[str] = Counter()
    for kind, count in truth["defects"].items():
        if kind in REASONS:
            expected[REASONS[kind]] += count
    assert reasons == dict(expected)
    assert len(kept) + sum(reasons.values()) == len(lines)
    assert len({row.event_id for row in kept}) == truth["clicks"]
    assert not [row for row in kept if any(area.startswith("Other: ") for area in row.clinical_areas)]
