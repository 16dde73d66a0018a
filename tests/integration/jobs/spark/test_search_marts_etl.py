"""Curated stream → search marts → PostgreSQL: every cell as the reference has it, whatever order the clicks came in."""

from __future__ import annotations

import datetime as dt
import os
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow.parquet import ParquetFile

from jobs.errors import JobError
from jobs.generator.__main__ import write_day
from jobs.spark import load_search_marts, search_marts_etl
from jobs.spark.mart import SEARCH
from tests import analysts, reference_search
from tests.clicks import append_lines
from tests.integration.jobs.spark.cold import different
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)
from tests.kafka_runs import lines_of
from tests.search_logs import frequent_queries, outbreak, year_apart

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database", "spark")]
Run = Callable[..., str]

FIRST = dt.date(2020, 9, 1)
DAYS = [FIRST + dt.timedelta(days=number) for number in range(10)]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the ETL, or the load, of `mart` in this process; what it said."""

    def run(job: Any, mart: str = "mart", *options: str) -> str:
        capsys.readouterr()
        paths = ["--mart-path", str(tmp_path / mart)]
        if job is search_marts_etl:
            paths += ["--curated-path", str(tmp_path / "curated")]
        job.run(job.parser().parse_args([*paths, *options]))
        return capsys.readouterr().out

    return run


def test_every_cell_after_any_arrivals_and_the_same_bytes_as_in_full(
    spark: SparkSession, tmp_path: Path, run: Run
) -> None:
    seed = int(os.environ.get("ARRIVALS_SEED", str(secrets.randbelow(10**6))))
    print(f"ARRIVALS_SEED={seed}")  # noqa: T201  (seen when it fails)
    chance = random.Random(seed)  # noqa: S311
    logs = tmp_path / "logs"
    soon, late = year_apart(FIRST - dt.timedelta(days=362))
    rounds: list[list[bytes]] = [soon, *([] for _ in range(int(os.environ.get("ARRIVALS_ROUNDS", "2")) - 1))]
    for number, day in enumerate(DAYS):
        write_day(logs / str(day), day, scale=0.2, seed=seed, dirty=True)
        usual = number * len(rounds) // len(DAYS)
        for each in lines_of(logs / str(day)):
            rounds[chance.randrange(usual, len(rounds)) if chance.random() < 0.05 else usual].append(each)
    rounds[-1] += late
    rounds[0] += frequent_queries(DAYS[1])
    rounds[0] += outbreak(FIRST - dt.timedelta(days=9))
    (logs / "all.json").write_bytes(b"\n".join(each for lines in rounds for each in lines))
    offset = 0
    for number, lines in enumerate(rounds):
        chance.shuffle(lines)
        lines += chance.sample(lines, len(lines) // 50)  # sent twice
        append_lines(spark, lines, tmp_path / "curated", first_offset=offset)
        offset += len(lines)
        assert ("in full" in run(search_marts_etl, "mart", "--incremental", "true")) == (number == 0)
        assert ("loads all days" in run(load_search_marts)) == (number == 0)
    assert "nothing has changed" in run(search_marts_etl, "mart", "--incremental", "true")

    expected = reference_search.search_tables(logs)
    for table, columns in reference_search.COLUMNS.items():
        found = sorted(rows_of(f"SELECT {columns} FROM {table}"), key=repr)
        assert found
        assert not list(different(found, expected[table])), table
    run(search_marts_etl, "full")
    for table in SEARCH.in_lake:
        ours, right = (lake_rows(spark, tmp_path / mart, table) for mart in ("mart", "full"))
        assert not list(different(ours, right)), table
    assert not with_dictionary(tmp_path / "full/search/searches") & {"page.list.element", "documents.list.element"}
    assert len(analysts.queries("postgresql")) == 9
    with as_owner() as owner:
        analysts.refuse_without_answer(owner, "postgresql")
        owner.execute("UPDATE hourly_traffic SET clicks = clicks + 1 WHERE hour = 3")
    with pytest.raises(JobError, match=r"not hold the same clicks \(hourly_traffic .*run search_marts_etl again"):
        run(load_search_marts)


def with_dictionary(table: Path) -> set[str]:
    """The columns of a table's first file whose values are looked up in a dictionary."""
    first = next(table.glob("*/*.parquet"))
    rows = ParquetFile(first).metadata.row_group(0)
    columns = (rows.column(number) for number in range(rows.num_columns))
    return {column.path_in_schema for column in columns if column.has_dictionary_page}


def lake_rows(spark: SparkSession, mart: Path, table: str) -> list[tuple[Any, ...]]:
    rows = spark.read.format("delta").load(str(mart / "search" / table)).collect()
    return sorted((tuple(row) for row in rows), key=repr)


def test_what_is_missing_is_reported(run: Run) -> None:
    with pytest.raises(JobError, match=r"no curated stream .* run streaming_curated first"):
        run(search_marts_etl)
    with pytest.raises(JobError, match="run search_marts_etl first"):
        run(load_search_marts)
