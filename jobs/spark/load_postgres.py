"""Analytics mart → PostgreSQL: the four cold tables, replaced in one transaction, so that readers see old or new."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from jobs.cli import JobError, main, say
from jobs.spark import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog="load_postgres", description=__doc__)
    result.add_argument("--mart-path", required=True, help="root folder of the analytics mart")
    return result


def run(options: argparse.Namespace) -> None:
    """Replace the rows of the four tables; keys, indexes, grants and views stay, and nobody waits for a lock."""
    from jobs.spark.postgres import connect, copy_rows
    from jobs.spark.session import session

    connection = connect()  # before Spark starts: what is wrong with it is said at once
    spark = session("load_postgres")
    marts = {table: read_mart(spark, options.mart_path, table) for table in tables.COLD_MARTS}
    require_one_run(spark, options.mart_path)
    with connection, connection.transaction():
        for table, rows in marts.items():
            started = time.monotonic()
            connection.execute(f"DELETE FROM {table}".encode())
            written = copy_rows(connection, table, rows.columns, as_text(rows).toLocalIterator(prefetchPartitions=True))
            if not written:
                raise JobError(f"{table} of the mart is empty: PostgreSQL keeps what it has; look at the ETL's log")
            say(f"{table}: {written:,} rows in {time.monotonic() - started:.1f} s")
    say("committed: readers see the new tables")


def read_mart(spark: "SparkSession", mart_path: str, table: str) -> "DataFrame":
    """A table of the mart; JobError when there is none."""
    from jobs.spark.writer import is_table

    path = tables.table_path(mart_path, table)
    if not is_table(spark, path):
        raise JobError(f"there is no {table} in {mart_path}: run tripclick_analytics_mart_etl first")
    return spark.read.format("delta").load(path)


def require_one_run(spark: "SparkSession", mart_path: str) -> None:
    """JobError unless one run of the ETL wrote all four tables last."""
    runs = set()
    for table in tables.COLD_MARTS:
        path = tables.table_path(mart_path, table)
        runs |= {row.userMetadata for row in spark.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1").collect()}
    if len(runs) != 1:
        raise JobError(f"the tables in {mart_path} come from different runs: run tripclick_analytics_mart_etl again")


def as_text(rows: "DataFrame") -> "DataFrame":
    """Timestamps as text with their offset: PySpark would hand them over in the host's own time zone, without one."""
    from pyspark.sql import functions as F

    written = "yyyy-MM-dd HH:mm:ss.SSSSSSXXX"
    return rows.select(
        *(F.date_format(name, written).alias(name) if kind == "timestamp" else name for name, kind in rows.dtypes)
    )


if __name__ == "__main__":
    sys.exit(main(parser(), run))
