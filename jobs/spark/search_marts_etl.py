"""Curated stream → search marts: what people search for, from every click or from what has changed.

With --incremental only the months that changed clicks affect are recomputed, with identical tables, bit for bit.
If it cannot continue from the last run, it computes in full and logs the reason.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.spark import columns_search, tables
from jobs.spark.changed_visits import Visits, interpret
from jobs.spark.etl import add_options, bring_up_to_date, clicks_of, definitions, etl_session
from jobs.spark.mart import SEARCH, Mart, by_month
from jobs.spark.month_parts import month_of, packed
from jobs.spark.search_marts import AFFECTED, touched
from jobs.spark.search_writer import (
    CLICKS_A_PART,
    SEARCHES_TABLE,
    found_before,
    found_in_clicks,
    searches_of,
    write_days,
    write_snapshots,
)

if TYPE_CHECKING:
    from jobs.spark.mart import Run, Written

# What defines the marts' rows: if it changes, an incremental run computes in full.
DEFINING: Final = (
    "jobs.days",
    "jobs.grading",
    "jobs.spark.changed_visits",
    "jobs.spark.jvm",
    "jobs.spark.mart",
    "jobs.spark.month_parts",
    "jobs.spark.partition_sql",
    "jobs.spark.search_classes",
    "jobs.spark.search_days",
    "jobs.spark.search_marts",
    "jobs.spark.search_marts_etl",
    "jobs.spark.search_ndcg",
    "jobs.spark.search_snapshots",
    "jobs.spark.search_trends",
    "jobs.spark.search_writer",
    "jobs.spark.searches",
    "jobs.spark.tables",
    "jobs.spark.visits",
)
# To look for values that repeat takes longer than to write them.
_HARDLY_REPEAT: Final = ("page.list.element", "documents.list.element", "session_id", "first_click_ts", "last_click_ts")
_SETTINGS: Final = {f"parquet.enable.dictionary#{column}": "false" for column in _HARDLY_REPEAT}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="search_marts_etl", description=__doc__)
    add_options(result)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", tables.CLICKS))],
        writes=[Data("lake", f"{{mart-path}}/{tables.SEARCH}/{name}") for name in tables.SEARCH_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Bring all tables up to the current clicks; their commits carry the same note."""
    root = tables.table_path(options.mart_path, tables.SEARCH)
    mart = Mart(etl_session("search_marts_etl", _SETTINGS), root, SEARCH)
    bring_up_to_date(mart, options, definitions(DEFINING, columns_search.SEARCH), in_full, apply_changes)


def in_full(mart: Mart, this: Run) -> None:
    """Compute all rows from all clicks."""
    clicks, counts = clicks_of(mart, this)
    searches = found_in_clicks(clicks, packed(counts, CLICKS_A_PART))
    mart.write(SEARCHES_TABLE, searches.by_month, this)
    write_days(mart, this, searches)
    write_snapshots(mart, this)


def apply_changes(mart: Mart, this: Run, last: Written) -> None:
    """Update the tables from what the last run read to what this one reads; writes nothing if that is the same."""
    started = time.monotonic()
    if this.clicks.version == last.run.clicks.version:
        say("nothing has changed since the last run")
        return
    interpret(mart.spark)
    visits = Visits(mart.spark, this, last, tables.SEARCHES, searches_of)
    took = time.monotonic() - started
    say(f"read {visits.changes:,} changed clicks: {len(visits.days):,} days change, took {took:.1f} s")
    if not visits.days:
        return
    this = replace(this, days=[str(day) for day in sorted(visits.days)])
    changed = {month_of(day) for day in visits.days}
    mart.write(SEARCHES_TABLE, by_month(SEARCHES_TABLE, visits.of(changed)), this, changed)
    affected = {month_of(day) for name in AFFECTED for day in touched(name, visits.days) or ()}
    months = changed | affected & mart.months(SEARCHES_TABLE)
    write_days(mart, this, found_before(mart, {month: part for part, month in enumerate(sorted(months))}), months)
    write_snapshots(mart, this)


if __name__ == "__main__":
    sys.exit(main(parser(), run))
