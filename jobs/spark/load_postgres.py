"""Analytics mart → PostgreSQL: the four cold tables, replaced in one transaction, so that readers see old or new."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from jobs.cli import Data, JobError, flow, main, positive_float, say
from jobs.spark import tables

if TYPE_CHECKING:
    import psycopg
    from pyspark.sql import DataFrame, SparkSession


_NOTE = """
    INSERT INTO mart_loads (table_name, row_count) VALUES (%s, %s)
    ON CONFLICT (table_name) DO UPDATE SET row_count = excluded.row_count, loaded_at = now()
"""
# Growth is what a backfill brings, and has no limit; that nothing is double, the tables say of one another.
MAX_SHRINK_FACTOR = 1.25
_CLICKS = {  # the clicks of each table, which are the same ones
    "daily_traffic": "SELECT sum(total_events) FROM daily_traffic",
    "session_analysis": "SELECT sum(click_count) FROM session_analysis",
    "popular_documents": "SELECT sum(view_count) FROM popular_documents",
    "clinical_areas": "SELECT round(sum(weighted_clicks)) FROM clinical_areas",
}
SETTINGS = {"spark.sql.files.maxPartitionBytes": "4m"}  # no more than a file at once: it fits a driver of 1 GB


def _factor(text: str) -> float:
    if positive_float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1: it would refuse what has not changed")
    return float(text)


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog="load_postgres", description=__doc__)
    result.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    fewer = "refuse a table with fewer rows than PostgreSQL has of it, divided by this"
    result.add_argument("--max-shrink-factor", type=_factor, default=MAX_SHRINK_FACTOR, help=fewer)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{mart-path}", name)) for name in tables.COLD_MARTS],
        writes=[Data("postgresql", name) for name in tables.COLD_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Read what one run of the ETL wrote, and put it in the place of what PostgreSQL has."""
    from jobs.spark.migrations import migrate
    from jobs.spark.postgres import connect
    from jobs.spark.session import session

    with connect() as connection:  # before Spark starts: what is wrong with it is said at once
        migrate(connection)
        marts = read_marts(session("load_postgres", SETTINGS), options.mart_path)
        replace(connection, marts, options.max_shrink_factor)
    say("committed: readers see the new tables")


def read_marts(spark: "SparkSession", mart_path: str) -> "dict[str, DataFrame]":
    """The four tables as one run of the ETL wrote them, also when the next one starts; JobError when there is none."""
    from jobs.spark.mart import Mart

    written = Mart(spark, mart_path).written()
    say(f"reads {mart_path}, run {written.run.run_id}")
    return written.marts


def replace(
    connection: "psycopg.Connection[Any]", marts: "dict[str, DataFrame]", max_shrink_factor: float = MAX_SHRINK_FACTOR
) -> None:
    """Replace the rows of the tables in one transaction; keys, indexes, grants and views stay, no reader waits.

    JobError: a mart that is empty, much smaller than what is there, or whose tables do not hold the same clicks; then
    nothing changes.
    """
    from jobs.spark.migrations import ANALYZE
    from jobs.spark.postgres import as_text, copy_rows

    with connection.transaction():
        # A second load waits here; readers do not.
        connection.execute(f"LOCK TABLE {', '.join(marts)} IN SHARE ROW EXCLUSIVE MODE".encode())
        for table, rows in marts.items():
            started = time.monotonic()
            deleted = connection.execute(f"DELETE FROM {table}".encode()).rowcount
            written = copy_rows(connection, table, rows.columns, as_text(rows).toLocalIterator(prefetchPartitions=True))
            _refuse_a_loss(table, deleted, written, max_shrink_factor)
            connection.execute(_NOTE, (table, written))
            say(f"{table}: {written:,} rows instead of {deleted:,}, took {time.monotonic() - started:.1f} s")
        _refuse_a_contradiction(connection)
        connection.execute(f"SELECT {ANALYZE}".encode())


def _refuse_a_loss(table: str, before: int, now: int, factor: float) -> None:
    if not now:
        raise JobError(f"{table} of the mart is empty: PostgreSQL keeps what it has; look at the ETL's log")
    if now * factor < before:
        raise JobError(
            f"{table} of the mart has {now:,} rows, PostgreSQL {before:,}, more than {factor:g} times as many: "
            "PostgreSQL keeps what it has; look at the ETL's log and the curated stream, or, when it is right, trigger "
            "the load with a higher max_shrink_factor"
        )


def _refuse_a_contradiction(connection: "psycopg.Connection[Any]") -> None:
    clicks = {}
    for table, query in _CLICKS.items():
        row = connection.execute(query.encode()).fetchone()
        clicks[table] = int(row[0] or 0) if row else 0
    if len(set(clicks.values())) > 1:
        counted = ", ".join(f"{table} {count:,}" for table, count in clicks.items())
        raise JobError(
            f"the tables of the mart do not hold the same clicks ({counted}): PostgreSQL keeps what it has; run "
            "tripclick_analytics_mart_etl again"
        )


if __name__ == "__main__":
    sys.exit(main(parser(), run))
