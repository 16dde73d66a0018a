"""Analytics mart → PostgreSQL: the four cold tables in one transaction, so that readers see old or new.

If the ETL's run continues the one that PostgreSQL has, only the days that have changed; else everything.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from typing import TYPE_CHECKING, Any, Final

from jobs.arguments import day, whole_number
from jobs.cli import Data, flow, main
from jobs.days import spans_of, spans_text
from jobs.errors import NonRetryableError
from jobs.spark import tables
from jobs.spark.incremental import touched
from jobs.spark.mart import COLD
from jobs.spark.mart_load import Load, add_options, load_mart
from jobs.spark.migrations import ANALYZE
from jobs.spark.postgres import connect

if TYPE_CHECKING:
    import psycopg

LOAD: Final = Load(
    COLD,
    clicks={
        "daily_traffic": "SELECT sum(total_events) FROM daily_traffic",
        "session_analysis": "SELECT sum(click_count) FROM session_analysis",
        "popular_documents": "SELECT sum(view_count) FROM popular_documents",
        "clinical_areas": "SELECT round(sum(weighted_clicks)) FROM clinical_areas",
    },
    analyze=ANALYZE,
    touched=touched,
)


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog="load_postgres", description=__doc__)
    add_options(result)
    late = "fail after loading if a day has been missing for so many days; 0: never"
    result.add_argument("--missing-limit-days", type=whole_number, default=0, help=late)
    may = "days up to this one may be missing"
    result.add_argument("--missing-until", type=day, default=dt.date(2000, 1, 1), help=may)
    flow(
        result,
        reads=[Data("lake", tables.table_path("{mart-path}", name)) for name in tables.COLD_MARTS],
        writes=[Data("postgresql", name) for name in tables.COLD_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Load the cold marts; then see that no day is missing for too long."""
    with connect() as connection:
        load_mart(connection, "load_postgres", options.mart_path, options, LOAD)
        if options.missing_limit_days:
            refuse_missing_days(connection, options.missing_limit_days, options.missing_until)


def refuse_missing_days(connection: psycopg.Connection[Any], limit: int, until: dt.date) -> None:
    """NonRetryableError: a day after `until` is missing, and has been for `limit` days. What is loaded stays."""
    query = "SELECT event_date FROM missing_days WHERE days_ago >= %s AND event_date > %s"
    days = [each for (each,) in connection.execute(query, (limit, until))]
    if days:
        raise NonRetryableError(
            f"no click of {spans_text(spans_of(days))}: everything else is loaded; put the log's files of these days "
            "where the producer reads, and its next run sends them; when there are none, load with --missing-until "
            f"{max(days)}"
        )


if __name__ == "__main__":
    sys.exit(main(parser(), run))
