"""Curated stream → analytics mart → PostgreSQL: every cell as the reference has it, and what readers meet meanwhile."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from jobs.errors import JobError
from jobs.generator.__main__ import write_day
from jobs.spark import analytics_mart_etl, delta_log, dictionary, load_postgres, mart_load
from jobs.spark.columns import schema
from jobs.spark.columns_cold import DAILY_TRAFFIC
from jobs.spark.etl import etl_session
from jobs.spark.mart import Group, Mart, Run, TableVersion, Written
from jobs.spark.migrations import MIGRATIONS, migrate
from jobs.spark.month_parts import month_of
from jobs.spark.tables import COLD_MARTS, HOT_MARTS, MART_PARTITION
from stack.postgresql import PostgreSql
from tests import reference
from tests.clicks import append, append_logs, at, click, frame
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
from tests.integration.jobs.spark.cold import cold_rows, different, load

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
Submit = Callable[..., subprocess.CompletedProcess[str]]

# Nine have a week before them; COLD_DAYS=60 is the whole proof.
DAYS = [dt.date(2020, 10, 30) + dt.timedelta(days=number) for number in range(int(os.environ.get("COLD_DAYS", "9")))]
WEEKS = 288 * 7 * 86_400_000
READS_A_SECOND = 20


def etl(root: Path) -> None:
    """Run the ETL in this process."""
    options = ["--curated-path", str(root / "curated"), "--mart-path", str(root / "mart")]
    analytics_mart_etl.run(analytics_mart_etl.parser().parse_args(options))


def with_rows(complete: mart_load.Complete, folder: Path, **marts: DataFrame) -> mart_load.Complete:
    """The same run, were these its tables, which are written below `folder`."""
    tables = {}
    for table, mart in marts.items():
        mart.coalesce(1).write.format("delta").save(str(folder / table))
        tables[table] = mart_load.LakeRows(mart.sparkSession.read.format("delta").load(str(folder / table)))
    return replace(complete, tables={**complete.tables, **tables})


def lake_rows(spark: SparkSession, root: Path, table: str) -> DataFrame:
    """A table of the mart."""
    return spark.read.format("delta").load(str(root / "mart" / table)).drop(MART_PARTITION)


@pytest.fixture(scope="module")
def small_once(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with a curated stream of two days, and a mart of it; to be read only."""
    root = tmp_path_factory.mktemp("small")
    append(frame(spark, [click(at(-9)), click(at(0), "s2", 2), click(at(days=1), "s2", 3)]), root / "curated")
    etl(root)
    return root


@pytest.fixture
def small(small_once: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    return shutil.copytree(small_once, tmp_path, dirs_exist_ok=True)


def test_every_cell_is_right_for_dirty_logs_loaded_by_spark_submit(
    spark: SparkSession, tmp_path: Path, spark_submit: Submit
) -> None:
    for day in DAYS:
        write_day(tmp_path / "logs", day, scale=1, seed=5, dirty=True)
    files = sorted((tmp_path / "logs").glob("*.json"))
    append_logs(spark, [*files, files[1]], tmp_path / "curated", WEEKS)  # the producer sent a day again
    etl(tmp_path)
    done = spark_submit("load_postgres", "--mart-path", str(tmp_path / "mart"), env={"TZ": "Asia/Seoul"})
    assert done.returncode == 0, done.stdout + done.stderr

    expected = reference.cold_tables(tmp_path / "logs", WEEKS, again=[files[1]])
    assert len(expected["session_analysis"]) > 400 * len(DAYS)
    for table, rows in cold_rows().items():
        assert not list(different(rows, expected[table])), table


def test_every_cell_is_right_for_clean_logs(spark: SparkSession, tmp_path: Path) -> None:
    for day in DAYS[-3:]:
        write_day(tmp_path / "logs", day, scale=1, seed=6)
    append_logs(spark, sorted((tmp_path / "logs").glob("*.json")), tmp_path / "curated")
    etl(tmp_path)
    load(tmp_path)
    assert cold_rows() == reference.cold_tables(tmp_path / "logs")


def test_keys_grants_and_views_survive_a_refresh(spark: SparkSession, small: Path) -> None:
    load(small)
    with as_owner() as connection:
        connection.execute("CREATE VIEW busiest AS SELECT max(total_events) AS clicks FROM daily_traffic")
        connection.execute("GRANT SELECT ON daily_traffic, busiest TO PUBLIC")
    before = rows_of("SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1")
    append(frame(spark, [click(at(5), "s3", 9)]), small / "curated")
    etl(small)
    load(small)
    assert rows_of("SELECT clicks FROM busiest") == [(3,)]
    assert rows_of("SELECT has_table_privilege('public', 'daily_traffic', 'SELECT')") == [(True,)]
    assert rows_of("SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1") == before


def test_postgresql_has_the_dictionarys_tables_columns_and_comments(small: Path) -> None:
    load(small)
    with psycopg.connect("", autocommit=True) as connection:
        assert described() == dictionary_rows()
        with as_owner() as owner:
            owner.execute("COMMENT ON COLUMN daily_traffic.peak_hour IS 'what an older version said'")
        migrate(connection)
    assert described() == dictionary_rows()


def described() -> list[tuple[Any, ...]]:
    """table, its comment, column, type, comment: of all tables of the schema but the list of migrations."""
    return rows_of(
        "SELECT relname::text, obj_description(oid, 'pg_class'), attname::text, "
        "replace(format_type(atttypid, NULL), 'timestamp with time zone', 'timestamptz'), "
        "col_description(oid, attnum) FROM pg_class JOIN pg_attribute ON attrelid = oid AND attnum > 0 "
        "WHERE relkind IN ('r', 'v') AND relname <> 'schema_migrations' "
        "AND relnamespace = current_schema()::regnamespace ORDER BY relname, attnum"
    )


def dictionary_rows() -> list[tuple[Any, ...]]:
    return [
        (table.name, table.meaning, column.name, column.type, dictionary.comment(column))
        for table in sorted(dictionary.TABLES, key=lambda table: table.name)
        for column in table.columns
    ]


def test_tables_of_the_first_version_get_the_new_columns(small: Path) -> None:
    first = (MIGRATIONS / "001_marts.sql").read_bytes()
    with as_owner() as connection:
        connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
        connection.execute("INSERT INTO schema_migrations VALUES ('001_marts')")
        connection.execute(first)
        connection.execute("INSERT INTO daily_traffic VALUES ('2020-01-01', 1, 1, 1, 1)")
        connection.execute("CREATE VIEW clicks AS SELECT total_events FROM daily_traffic")
        migrate(connection)
        assert rows_of("SELECT event_date::text, no_query_share FROM daily_traffic") == [("2020-01-01", None)]
    load(small)
    assert [row for row in described() if row[0] != "clicks"] == dictionary_rows()
    assert sorted(rows_of("SELECT * FROM clicks")) == [(1,), (2,)]


def test_the_reader_reads_the_marts_and_does_nothing_else(small: Path, postgres_server: PostgreSql) -> None:
    load(small)
    ((schema,),) = rows_of("SELECT current_schema()")
    user, password = postgres_server.reader
    with psycopg.connect("", user=user, password=password, autocommit=True) as connection:
        for table in dictionary.TABLES:
            connection.execute(f"SELECT * FROM {table.name} LIMIT 1".encode())
        refused = (
            "SELECT * FROM schema_migrations",
            "DELETE FROM daily_traffic",
            "CREATE TABLE mine (id int)",
            "SET default_transaction_read_only = off; UPDATE daily_traffic SET total_events = 0",
            f"SET default_transaction_read_only = off; CREATE TABLE {schema}.mine (id int)",
        )
        for statement in refused:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                connection.execute(statement.encode())


def test_an_empty_mart_is_refused_and_changes_nothing(spark: SparkSession, small: Path) -> None:
    load(small)
    before = cold_rows()
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    empty = with_rows(
        complete, small / "other", popular_documents=lake_rows(spark, small, "popular_documents").limit(0)
    )
    with (
        psycopg.connect("", autocommit=True) as connection,
        pytest.raises(JobError, match=r"popular_documents .*empty"),
    ):
        mart_load.replace(connection, empty, in_full=True)
    assert cold_rows() == before


def test_a_mart_that_lost_rows_is_refused_unless_that_is_allowed(spark: SparkSession, small: Path) -> None:
    load(small)
    before = cold_rows()
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    last_day = {table: lake_rows(spark, small, table).where("event_date > '2026-05-04'") for table in COLD_MARTS}
    lost = with_rows(complete, small / "other", **last_day)
    with psycopg.connect("", autocommit=True) as connection:
        words = r"session_analysis of the mart has 1 rows, PostgreSQL 3, .*max_shrink_factor"
        with pytest.raises(JobError, match=words):
            mart_load.replace(connection, lost, in_full=True)
        assert cold_rows() == before
        mart_load.replace(connection, lost, 3, in_full=True)
    assert rows_of("SELECT event_date::text FROM daily_traffic") == [("2026-05-05",)]


def test_a_mart_that_contradicts_itself_is_refused(spark: SparkSession, small: Path) -> None:
    load(small)
    before = cold_rows()
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    views = lake_rows(spark, small, "popular_documents")
    twice = with_rows(
        complete,
        small / "other",
        popular_documents=views.selectExpr("* EXCEPT (view_count)", "view_count * 2 AS view_count"),
    )
    words = r"not hold the same clicks \(daily_traffic 3, session_analysis 3, popular_documents 6, clinical_areas 3\)"
    with psycopg.connect("", autocommit=True) as connection, pytest.raises(JobError, match=words):
        mart_load.replace(connection, twice, in_full=True)
    assert cold_rows() == before


def test_views_say_how_old_and_how_right_the_tables_are(small: Path) -> None:
    load(small)
    with psycopg.connect("", autocommit=True) as connection:
        connection.execute(
            "INSERT INTO mart_realtime_traffic_minute (event_minute, total_clicks, unique_sessions, unique_docs) "
            "VALUES ('2026-05-04 00:00Z', 1, 1, 1), ('2026-05-04 23:59Z', 1, 1, 1), ('2026-05-03 23:59Z', 7, 1, 1)"
        )
        connection.execute("INSERT INTO mart_realtime_batches VALUES ('q', 1, '2026-05-05', now() - interval '1 hour')")
    assert rows_of("SELECT * FROM reconciliation ORDER BY event_date") == [
        (dt.date(2026, 5, 3), 7, None, None, None, None),
        (dt.date(2026, 5, 4), 2, 2, 0, 0.0, True),
        (dt.date(2026, 5, 5), None, 1, None, None, None),
    ]
    ages = rows_of(
        "SELECT table_name, newest_event_ts, round(wall_age_minutes)::int, "
        "abs(event_age_minutes - extract(epoch FROM now() - newest_event_ts) / 60) < 1 FROM freshness"
    )
    hot = {(table, dt.datetime(2026, 5, 5, tzinfo=dt.UTC), 60, True) for table in HOT_MARTS}
    assert set(ages) == hot | {(table, at(days=1), 0, True) for table in COLD_MARTS}


def test_hot_and_cold_may_differ_by_one_percent(small: Path) -> None:
    load(small)
    with as_owner() as connection:
        connection.execute("UPDATE daily_traffic SET total_events = 200")
        found = []
        for hot in (197, 198, 202, 203):
            connection.execute("DELETE FROM mart_realtime_traffic_minute")
            values = ("2026-05-04 12:00Z", hot, 1, 1)
            connection.execute("INSERT INTO mart_realtime_traffic_minute VALUES (%s, %s, %s, %s)", values)
            found += rows_of("SELECT within_tolerance FROM reconciliation WHERE event_date = '2026-05-04'")
    assert found == [(False,), (True,), (True,), (False,)]


def test_a_mart_of_two_runs_is_refused(spark: SparkSession, small: Path) -> None:
    kept = spark.read.format("delta").load(str(small / "mart/daily_traffic"))
    kept.write.format("delta").mode("append").option("userMetadata", "other").save(str(small / "mart/daily_traffic"))
    with pytest.raises(JobError, match="not of one run"):
        load(small)


@pytest.fixture
def one_table(spark: SparkSession, tmp_path: Path) -> Callable[..., Mart]:
    """Write the mart's only table, as these runs: in full, or its days; returns the mart."""
    assert etl_session("test") is spark
    rows = spark.createDataFrame([], ", ".join(f"{name} {kind}" for name, kind in schema(DAILY_TRAFFIC).items()))

    def write(*runs: Run, last: Written | None = None) -> Mart:
        mart = Mart(spark, str(tmp_path), Group("an ETL", (DAILY_TRAFFIC.name,)), last)
        for run in runs:
            months = {month_of(dt.date.fromisoformat(day)) for day in run.days} if run.days else None
            mart.write(DAILY_TRAFFIC, rows, run, months)
        return mart

    return write


def a_run(name: str, *days: str) -> Run:
    return Run(name, "", TableVersion("clicks", "id", 1, notes_changes=False), None, list(days) or None)


def test_a_table_that_stays_empty_is_of_the_new_run_too(one_table: Callable[..., Mart]) -> None:
    for run in (a_run("first"), a_run("second"), a_run("third", "2020-10-01")):
        assert one_table(run).written().run == run


def test_a_run_continues_only_what_it_has_found(one_table: Callable[..., Mart]) -> None:
    found = one_table(a_run("first")).written()
    hung = one_table(a_run("had hung")).written()
    with pytest.raises(JobError, match="a job that hung has written to it after all"):
        one_table(a_run("next", "2020-10-01"), last=found)
    # Its rows are not put among those of another one, as whose successor the load would take it.
    assert one_table().written() == hung
    assert one_table(a_run("next", "2020-10-01"), last=hung).written().run == a_run("next", "2020-10-01")


def test_a_mart_that_is_written_meanwhile_is_read_as_it_was(spark: SparkSession, small: Path) -> None:
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    append(frame(spark, [click(at(5), "s3", 9)]), small / "curated")
    etl(small)
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)
        mart_load.replace(connection, complete)
    assert rows_of("SELECT sum(total_events)::int FROM daily_traffic") == [(3,)]


def test_each_tables_state_is_read_once(spark: SparkSession, small_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, snapshot = list[str](), delta_log._snapshot

    def counted(spark: SparkSession, path: str) -> Any:
        asked.append(path)
        return snapshot(spark, path)

    monkeypatch.setattr(delta_log, "_snapshot", counted)
    Mart(spark, str(small_once / "mart")).written()
    assert sorted(asked) == sorted(str(small_once / "mart" / table) for table in COLD_MARTS)


def test_what_is_missing_is_reported(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"no curated stream .* run streaming_curated first"):
        etl(tmp_path)
    with pytest.raises(JobError, match="run analytics_mart_etl first"):
        load(tmp_path)
    append(frame(spark, []), tmp_path / "curated")
    with pytest.raises(JobError, match=r"no click .* run a producer"):
        etl(tmp_path)


class Reader:
    """Counts rows READS_A_SECOND times a second, and keeps every count and the worst time."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        query = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in COLD_MARTS)
        with psycopg.connect("", autocommit=True) as connection:
            while not self._stop.wait(1 / READS_A_SECOND):
                started = time.monotonic()
                row = connection.execute(query).fetchone()
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.seen.append(row or ())


def slow(complete: mart_load.Complete) -> mart_load.Complete:
    """A run whose rows come slowly, so that readers meet a load at every point of it."""
    return replace(complete, tables={table: Slow(rows) for table, rows in complete.tables.items()})


@dataclass
class Slow:
    """A table whose rows come one by one."""

    rows: mart_load.Rows

    @property
    def columns(self) -> Sequence[str]:
        return self.rows.columns

    def csv(self, days: Collection[dt.date] | None) -> Iterator[bytes]:
        for chunk in self.rows.csv(days):
            for line in bytes(chunk).splitlines(keepends=True):
                time.sleep(0.1)
                yield line


def test_readers_meet_the_old_tables_or_the_new_ones(spark: SparkSession, small: Path) -> None:
    load(small)
    old = (2 + 1, 2, 2, 3)  # session s2 comes back after a day
    append(frame(spark, [click(at(days=2), f"n{number}", 50 + number) for number in range(5)]), small / "curated")
    etl(small)
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    with psycopg.connect("", autocommit=True) as connection, Reader() as reader:
        for _ in range(2):
            mart_load.replace(connection, slow(complete), in_full=True)
    assert set(reader.seen) == {old, (8, 3, 3, 8)}
    assert len(reader.seen) > 4 * READS_A_SECOND
    assert reader.slowest < 0.5  # no reader waits for a lock


def test_two_loads_at_once_both_succeed(spark: SparkSession, small: Path) -> None:
    load(small)
    before = cold_rows()
    complete = mart_load.read_marts(spark, str(small / "mart"), load_postgres.LOAD)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with psycopg.connect("", autocommit=True) as connection:
                mart_load.replace(connection, slow(complete), in_full=True)
        except BaseException as error:  # noqa: BLE001  (reported by the test's own thread)
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert cold_rows() == before


def test_a_wrong_password_is_one_line(tmp_path: Path, spark_submit: Submit) -> None:
    done = spark_submit("load_postgres", "--mart-path", str(tmp_path), env={"PGPASSWORD": "se-cret"})
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert output.count("error: PostgreSQL: ") == 1
    assert "password authentication failed" in output
    assert "Traceback" not in output
    assert "se-cret" not in output
