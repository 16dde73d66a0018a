"""What the ETLs of all marts share: one writer, what a run reads, and whether it can continue the last one."""

from __future__ import annotations

import ast
import datetime as dt
import hashlib
import inspect
import uuid
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from jobs.arguments import true_or_false
from jobs.console import say
from jobs.errors import JobError
from jobs.spark import tables
from jobs.spark.columns import Table, schema
from jobs.spark.mart import Mart, Run, TableVersion
from jobs.spark.month_parts import count_by_month
from jobs.spark.one_writer import one_writer
from jobs.spark.session import CELLS, run_of, session, side_by_side
from jobs.spark.upkeep import KEEP_REPLACED_HOURS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from jobs.spark.mart import Written


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every ETL."""
    parser.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    parser.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    days = "recompute only the days that new clicks affect"
    parser.add_argument("--incremental", type=true_or_false, default=False, help=days)


def etl_session(name: str, settings: Mapping[str, str] | None = None) -> SparkSession:
    """The Spark session of an ETL; `name` is the job's, and so are `settings`."""
    return session(
        name,
        {
            # The number of parts is known in advance: planning again after each shuffle adds nothing.
            "spark.sql.adaptive.enabled": "false",
            # Rows come by month and in order: with a file open for each month, Spark does not sort them again.
            "spark.sql.maxConcurrentOutputFileWriters": "16",
            # INT96, the default, takes longer and more space.
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
            # A table that was empty and stays so is of the new run, too.
            "spark.databricks.delta.skipRecordingEmptyCommits": "false",
            **(settings or {}),
        },
    )


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
            apply_changes(mart.continuing(last), this, last)
        else:
            in_full(mart, this)
        mart.spark.catalog.clearCache()
        mart.keep_tidy()
    say(f"run {this.run_id} is complete")


def run_of_now(spark: SparkSession, curated_path: str, definitions: str) -> Run:
    """A run that reads the current clicks; JobError if there is no curated stream."""
    paths = [tables.table_path(curated_path, name) for name in (tables.CLICKS, tables.QUARANTINE)]
    clicks, quarantine = side_by_side(spark, *(partial(TableVersion.newest, spark, path) for path in paths))
    if not clicks:
        raise JobError(f"there is no curated stream in {paths[0]}: run streaming_curated first")
    # A run of the DAG whose task was cleared is another run of the ETL.
    return Run(f"{run_of(spark)} {uuid.uuid4().hex}".strip(), definitions, clicks, quarantine)


def definitions(modules: Iterable[str], marts: Iterable[Table]) -> str:
    """A digest of the code and the columns of marts, and of the engines; comments and meanings are not in it."""
    import duckdb
    import pyspark

    code = [without_docs(inspect.getsource(import_module(name))) for name in modules]
    columns = [(table.name, table.key, schema(table)) for table in marts]
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


def clicks_of(mart: Mart, this: Run) -> tuple[DataFrame, dict[int, int]]:
    """The clicks that a run reads, and their number per month; JobError if there are none."""
    clicks = this.clicks.rows(mart.spark)
    counts = count_by_month(clicks)
    if not counts:
        raise JobError(f"no click in {this.clicks.path}: run a producer and streaming_curated first")
    say(f"reads {sum(counts.values()):,} clicks from {this.clicks.path}")
    return clicks, counts
