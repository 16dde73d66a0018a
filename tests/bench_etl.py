"""`make bench-etl`: seconds of the ETL in full, and of the incremental one after one more day, by length of history.

Each is a process of its own, from spark-submit to its exit. A history is four weeks of the generator at scale 1, again
and again with other sessions, and quarantined records left out.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.generator.__main__ import write_day
from jobs.spark import tables
from stack.settings import REPOSITORY
from tests import spark_submit
from tests.clicks import append, append_quarantine, of_logs
from tests.spark_fixtures import small_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAYS = [dt.date(2020, 6, 1) + dt.timedelta(days=number) for number in range(29)]
LENGTH = len(DAYS) - 1  # the last one comes later


def main() -> int:
    """Build, run, print."""
    options = argparse.ArgumentParser(prog="python -m tests.bench_etl", description=__doc__)
    options.add_argument("--histories", type=int, nargs="+", default=[1, 12, 96], help="how many times four weeks")
    histories = options.parse_args().histories
    spark = small_session()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for day in DAYS:
            write_day(root / "log", day, scale=1, seed=1)
        files = sorted((root / "log").glob("*.json"))
        weeks, next_day = of_logs(spark, files[:-1]), of_logs(spark, files[-1:])
        append(weeks, root / "weeks")
        weeks = spark.read.format("delta").load(str(root / "weeks" / tables.CLICKS))
        _say(f"{'days':>6}{'clicks':>12}{'in full':>10}{'a day more':>12}{'ratio':>8}")
        for times in histories:
            curated, mart = root / f"curated{times}", root / f"mart{times}"
            append(_history(spark, weeks, times).repartition("event_date"), curated)
            append_quarantine(spark, [], curated)
            in_full = _seconds(curated, mart, "false")
            append(next_day, curated)
            one_day = _seconds(curated, mart, "true")
            clicks = weeks.count() * times
            _say(f"{times * LENGTH:>6,}{clicks:>12,}{in_full:>8.1f} s{one_day:>10.1f} s{one_day / in_full:>8.2f}")
    spark.stop()
    return 0


def _history(spark: SparkSession, weeks: DataFrame, times: int) -> DataFrame:
    """The four weeks, and so many times before them."""
    from pyspark.sql import functions as F

    ago = F.col("ago").cast("int") * LENGTH
    moved = {name: F.col(name) - F.make_dt_interval(ago) for name in ("event_ts", "source_ts")}
    others = {name: F.concat_ws("-", name, "ago") for name in ("session_id", "event_id")}
    day = {"event_date": F.date_sub("event_date", ago)}
    return weeks.crossJoin(spark.range(times).toDF("ago")).withColumns({**moved, **others, **day}).drop("ago")


def _seconds(curated: Path, mart: Path, incremental: str) -> float:
    """Of one run."""
    words = [*spark_submit.command("jobs/spark/analytics_mart_etl.py"), f"--curated-path={curated}"]
    words += [f"--mart-path={mart}", f"--incremental={incremental}"]
    started = time.monotonic()
    done = subprocess.run(
        words, cwd=REPOSITORY, env=spark_submit.environment(), capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode or "computes in full" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return seconds


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
