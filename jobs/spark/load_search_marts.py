"""Analytics mart → PostgreSQL: the search marts in one transaction, so that readers see old or new.

If the ETL's run continues the one that PostgreSQL has, only the days that have changed; else everything.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from jobs.cli import Data, flow, main
from jobs.spark import tables
from jobs.spark.mart import SEARCH
from jobs.spark.mart_load import Load, add_options, load_mart
from jobs.spark.migrations import ANALYZE_SEARCH
from jobs.spark.postgres import connect
from jobs.spark.search_marts import touched
from jobs.spark.search_snapshots import SNAPSHOTS

LOAD: Final = Load(
    SEARCH,
    clicks={
        tables.HOURLY_TRAFFIC: "SELECT sum(clicks) FROM hourly_traffic",
        tables.SEARCH_QUALITY: "SELECT sum(clicks) FROM search_quality WHERE query_class = 'all'",
        tables.POPULAR_QUERIES: "SELECT sum(clicks) FROM (SELECT clicks FROM popular_queries UNION ALL "
        "SELECT clicks FROM search_quality WHERE query_class = 'none') AS parts",
    },
    analyze=ANALYZE_SEARCH,
    touched=touched,
    may_shrink=(tables.POPULAR_QUERIES, tables.TRENDING, *SNAPSHOTS),
)


def parser() -> argparse.ArgumentParser:
    """The command line. Address and password of PostgreSQL come from libpq's environment."""
    result = argparse.ArgumentParser(prog="load_search_marts", description=__doc__)
    add_options(result)
    flow(
        result,
        reads=[Data("lake", f"{{mart-path}}/{tables.SEARCH}/{name}") for name in tables.SEARCH_MARTS],
        writes=[Data("postgresql", name) for name in tables.SEARCH_MARTS],
    )
    return result


def run(options: argparse.Namespace) -> None:
    """Replace the search tables of PostgreSQL by those of the lake, in one transaction."""
    with connect() as connection:
        load_mart(connection, "load_search_marts", tables.table_path(options.mart_path, tables.SEARCH), options, LOAD)


if __name__ == "__main__":
    sys.exit(main(parser(), run))
