"""The ETLs: in full on lengths of history, one more day after each, and with nothing new.

Of the cold tables, and of the search marts, which should take no longer.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.bench import process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab
from tests.bench.starts import empty_job

STAGE = "etl"
COLD, SEARCH = "analytics_mart_etl", "search_marts_etl"


def full(history: str, lab: Lab, job: str = COLD) -> Cost:
    """All of `lab.sizes.<history>` days to new tables."""
    lab.empty(_mart(lab, history, job))
    return _etl(lab, history, job, "false")


def _duckdb(history: str, lab: Lab) -> Cost:
    """The same columns by DuckDB alone, from the same files."""
    return process.run(
        [sys.executable, "-m", "tests.bench.scripts.cold_ceiling", str(lab.curated(_days(lab, history)))]
    )


def mart(history: str, lab: Lab, job: str = COLD) -> Path:
    """The root of the tables of the last run; there is one."""
    if not lab.last(_mart(lab, history, job)).exists():
        full(history, lab, job)
    return lab.last(_mart(lab, history, job))


def one_more_day(history: str, lab: Lab, job: str = COLD) -> Cost:
    """The day that came after the last run."""
    mart(history, lab, job)
    lab.one_more_day(_days(lab, history))
    return _etl(lab, history, job, "true")


def _nothing_new(lab: Lab) -> Cost:
    mart("year", lab)
    return _etl(lab, "year", COLD, "true")


def _etl(lab: Lab, history: str, job: str, incremental: str) -> Cost:
    paths = [f"--curated-path={lab.curated(_days(lab, history))}", f"--mart-path={lab.last(_mart(lab, history, job))}"]
    return process.job(job, *paths, f"--incremental={incremental}")


def _days(lab: Lab, history: str) -> int:
    days: int = getattr(lab.sizes, history)
    return days


def _mart(lab: Lab, history: str, job: str) -> str:
    return f"{job}-{_days(lab, history)}"


ROWS = [
    Row(
        "ETL in full, a year",
        STAGE,
        partial(full, "year"),
        partial(_duckdb, "year"),
        Reach("times", 5, gib=5),
        short=True,
    ),
    Row(
        "ETL in full, the whole history",
        STAGE,
        partial(full, "history"),
        partial(_duckdb, "history"),
        Reach("times", 2.5, gib=5),
    ),
    Row("ETL, nothing new", STAGE, _nothing_new, empty_job, Reach("times", 1.3)),
    Row("ETL, a day more after a month", STAGE, partial(one_more_day, "month"), empty_job, Reach("times", 2)),
    Row(
        "ETL, a day more after the whole history", STAGE, partial(one_more_day, "history"), empty_job, Reach("times", 2)
    ),
    Row(
        "ETL, a day more: after the whole history, compared with after a month",
        STAGE,
        partial(one_more_day, "history"),
        partial(one_more_day, "month"),
        Reach("times", 1.2),
    ),
]
# In another list, to be measured after the load, which takes the days that the rows above have added.
SEARCH_ROWS = [
    Row(
        "search marts in full, a year, compared with the cold tables",
        "search",
        partial(full, "year", job=SEARCH),
        partial(full, "year"),
        Reach("times", 1, gib=5),
    ),
    Row(
        "search marts in full, the whole history, compared with the cold tables",
        "search",
        partial(full, "history", job=SEARCH),
        partial(full, "history"),
        Reach("times", 1, gib=5),
    ),
    # After a year the days that a class, a grade and a snapshot look back at are all there.
    Row(
        "search marts, a day more: after the whole history, compared with after a year",
        "search",
        partial(one_more_day, "history", job=SEARCH),
        partial(one_more_day, "year", job=SEARCH),
        Reach("times", 1.2),
    ),
]
