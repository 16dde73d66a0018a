"""Curated stream → analytics mart: the cold tables, from every curated click or from what has changed.

With --incremental only the months that changed clicks affect are recomputed, with identical tables, bit for bit.
If it cannot continue from the last run, it computes in full and logs the reason.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from jobs.cli import Data, flow, main
from jobs.spark import tables
from jobs.spark.cold_writer import CLICKS_A_PART, behind_of, visits_of, write_days, write_visits
from jobs.spark.columns_cold import COLD, SESSION_ANALYSIS
from jobs.spark.etl import add_options, bring_up_to_date, clicks_of, definitions, etl_session
from jobs.spark.incremental import apply_changes
from jobs.spark.mart import Mart, Run
from jobs.spark.month_parts import packed
from jobs.spark.session import shuffle_like, side_by_side

# What defines the marts' rows: if it changes, an incremental run computes in full.
DEFINING: Final = (
    "jobs.days",
    "jobs.event",
    "jobs.spark.anomaly_rules",
    "jobs.spark.changed_visits",
    "jobs.spark.cold_marts",
    "jobs.spark.cold_writer",
    "jobs.spark.incremental",
    "jobs.spark.jvm",
    "jobs.spark.mart",
    "jobs.spark.month_parts",
    "jobs.spark.partition_sql",
    "jobs.spark.tables",
    "jobs.spark.visits",
)

# A batch for Python is so many clicks, whose texts the contract bounds, or the few batches of a part's tables: to bound
# its bytes as well, Spark would add up all columns after each row.
_BATCHES: Final = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="analytics_mart_etl", description=__doc__)
    add_options(result)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", name)) for name in (tables.CLICKS, tables.QUARANTINE)],
        writes=[Data("lake", tables.table_path("{mart-path}", name)) for name in tables.COLD_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Bring all tables up to the current clicks; their commits carry the same note."""
    mart = Mart(etl_session("analytics_mart_etl", _BATCHES), options.mart_path)
    bring_up_to_date(mart, options, definitions(DEFINING, COLD), in_full, apply_changes)


def in_full(mart: Mart, this: Run) -> None:
    """Compute all rows from all clicks."""
    clicks, counts = clicks_of(mart, this)
    visits = visits_of(clicks, shuffle_like(clicks))
    behind, _ = side_by_side(
        mart.spark,
        lambda: behind_of(clicks, this.quarantined(mart.spark)),
        lambda: write_visits(mart, this, visits),
    )
    write_days(mart, this, packed(counts, CLICKS_A_PART), mart.rows(SESSION_ANALYSIS), behind)


if __name__ == "__main__":
    sys.exit(main(parser(), run))
