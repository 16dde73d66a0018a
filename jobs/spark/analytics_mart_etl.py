"""Curated stream → analytics mart: the four cold tables, recomputed in full from every curated click.

With --incremental only the months that changed clicks affect are recomputed, with identical tables, bit for bit.
If it cannot continue from the last run, it computes in full and logs the reason.
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import hashlib
import inspect
import sys
import uuid
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from jobs.arguments import true_or_false
from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.errors import JobError
from jobs.spark import columns_cold, tables
from jobs.spark.cold_writer import behind_of, visits_of, write_days, write_visits
from jobs.spark.columns import Table, schema
from jobs.spark.columns_cold import SESSION_ANALYSIS
from jobs.spark.incremental import apply_changes
from jobs.spark.mart import Mart, Run, TableVersion
from jobs.spark.month_parts import count_by_month, packed
from jobs.spark.one_writer import one_writer
from jobs.spark.session import CELLS, session, shuffle_like, side_by_side
from jobs.spark.upkeep import KEEP_REPLACED_HOURS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.mart import Written

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


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="analytics_mart_etl", description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    result.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    result.add_argument(
        "--incremental", type=true_or_false, default=False, help="recompute only the days that new clicks affect"
    )
    flow(
        result,
        reads=[Data("lake", tables.table_path("{curated-path}", tables.CLICKS))],
        writes=[Data("lake", tables.table_path("{mart-path}", name)) for name in tables.COLD_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Bring all tables up to the current clicks; their commits carry the same note."""
    mart = Mart(etl_session("analytics_mart_etl"), options.mart_path)
    bring_up_to_date(mart, options, definitions(), in_full, apply_changes)


def etl_session(name: str) -> SparkSession:
    """An ETL's session: the number of parts is known in advance, adaptive planning after each shuffle adds nothing."""
    return session(name, {"spark.sql.adaptive.enabled": "false"})


def bring_up_to_date(
    mart: Mart,
    options: argparse.Namespace,
    definitions: str,
    in_full: Callable[[Mart, Run], None],
    apply_changes: Callable[[Mart, Run, Written], None],
) -> None:
    """Bring a mart's tables up to the current clicks: by what has changed, if that is asked for and possible."""
    with one_writer(mart.spark, mart.root):
        this = run_of_now(mart.spark, options.curated_path, definitions)  # not older than what the last writer read
        last = last_run_to_continue(mart, this) if options.incremental else None
        if last:
            apply_changes(mart, this, last)
        else:
            in_full(mart, this)
        mart.spark.catalog.clearCache()
        mart.keep_tidy()
    say(f"run {this.run_id} is complete")


def run_of_now(spark: SparkSession, curated_path: str, definitions: str) -> Run:
    """A run that reads the current clicks; JobError if there is no curated stream."""
    path = tables.table_path(curated_path, tables.CLICKS)
    clicks = TableVersion.newest(spark, path)
    if not clicks:
        raise JobError(f"there is no curated stream in {path}: run streaming_curated first")
    quarantine = TableVersion.newest(spark, tables.table_path(curated_path, tables.QUARANTINE))
    return Run(uuid.uuid4().hex, definitions, clicks, quarantine)


def definitions(modules: Iterable[str] = DEFINING, marts: Iterable[Table] | None = None) -> str:
    """A digest of the code and the columns of marts, the cold ones by default, and of the engines.

    Comments and meanings are not in it.
    """
    import duckdb
    import pyspark

    code = [without_docs(inspect.getsource(import_module(name))) for name in modules]
    columns = [(table.name, table.key, schema(table)) for table in marts or columns_cold.COLD]
    all_of_it = [pyspark.__version__, duckdb.__version__, repr(columns), repr(CELLS), *code]
    return hashlib.sha256("\0".join(all_of_it).encode()).hexdigest()


def without_docs(source: str) -> str:
    """The code without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def last_run_to_continue(mart: Mart, this: Run) -> Written | None:
    """What the mart has, if this run can continue from it; else None, and the reason is logged."""
    try:
        written = mart.written()
        refuse(written, this)
    except JobError as reason:
        say(f"computes in full: {reason}")
        return None
    return written


def refuse(written: Written, this: Run) -> None:
    """JobError if the mart cannot be updated from what is written."""
    last = written.run
    if last.definitions != this.definitions:
        raise JobError("the definitions of the marts have changed")
    for before, now in ((last.clicks, this.clicks), (last.quarantine, this.quarantine)):
        if before is None or now is None or before.table_id != now.table_id:
            raise JobError("the curated stream was recreated since the last run")
        if not before.notes_changes:
            raise JobError("the curated stream did not record its changes yet when the last run read it")
    ago = dt.datetime.now(dt.UTC) - written.ended
    if ago > dt.timedelta(hours=KEEP_REPLACED_HOURS):
        raise JobError(f"the last run is {ago.days} days ago, and files that were new then may have been deleted")


def in_full(mart: Mart, this: Run) -> None:
    """Compute all rows from all clicks."""
    clicks = clicks_of(mart, this)
    visits = visits_of(clicks, shuffle_like(clicks))
    counts, behind, _ = side_by_side(
        mart.spark,
        lambda: count_by_month(clicks),
        lambda: behind_of(clicks, this.quarantined(mart.spark)),
        lambda: write_visits(mart, this, visits),
    )
    say(f"reads {sum(counts.values()):,} clicks of {this.clicks.path}")
    write_days(mart, this, packed(counts), mart.rows(SESSION_ANALYSIS), behind)


def clicks_of(mart: Mart, this: Run) -> DataFrame:
    """The clicks that a run reads; JobError if there are none."""
    clicks = this.clicks.rows(mart.spark)
    if clicks.isEmpty():
        raise JobError(f"no click in {this.clicks.path}: run a producer and streaming_curated first")
    return clicks


if __name__ == "__main__":
    sys.exit(main(parser(), run))
