"""The start of a job to its first row, with the settings of a Spark server and as spark-submit comes."""

from __future__ import annotations

from stack import spark_start
from tests import spark_submit
from tests.bench import process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab

STAGE = "start"


def empty_job(lab: Lab) -> Cost:
    """The whole of a job that opens one Delta table: what no job can do without."""
    return process.script("first_row", str(lab.small_table))


def _first_row(lab: Lab) -> Cost:
    return process.script("first_row", str(lab.small_table), until="first row")


def _as_it_comes(lab: Lab) -> Cost:
    """Nothing but where it runs, its memory and its jars."""
    settings = {"spark.master": "local[2]", "spark.driver.memory": "1g", "spark.jars": spark_start.jars()}
    words = spark_submit.words("tests/bench/scripts/first_row.py", settings)
    return process.run([*words, str(lab.small_table)], until="first row")


ROWS = [Row("start of a job to its first row", STAGE, _first_row, _as_it_comes, Reach("times", 0.6), short=True)]
