"""The data of an earlier commit goes on with this one's jobs, and the way back: every cell is right after both."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from jobs.event import PARTITIONS
from jobs.generator.__main__ import write_day
from jobs.kafka_topic import Declared
from jobs.producer.topics import progress_topic
from jobs.spark import analytics_mart_etl, analytics_mart_realtime, archive_raw, load_postgres, streaming_curated
from jobs.spark.kafka_required import TOPIC_FOLDER, require_topic
from stack.home import Home
from stack.postgresql import PostgreSql
from stack.settings import DATABASE, REPOSITORY
from tests import reference
from tests.faults.conftest import IN_FULL
from tests.integration.jobs.spark.cold import cold_rows
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)
from tests.kafka_runs import command, stored
from tests.server_fixtures import running
from tests.upgrade import COMMIT, DATA, DAYS, TOPIC, EarlierJobs, allow_as_then, as_superuser

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration
NEW_DAY = dt.date.fromisoformat(DAYS[1]) + dt.timedelta(days=1)


@pytest.fixture
def earlier(spark: SparkSession, kafka: str, tmp_path: Path) -> Iterator[Path]:
    """What the earlier jobs have left: a log, a lake with checkpoints, a dump of PostgreSQL, and the topic."""
    with tarfile.open(DATA) as archive:
        archive.extractall(tmp_path, filter="data")
    send_again(spark, kafka, tmp_path / "lake/archive_raw/clicks")
    for known in tmp_path.glob(f"lake/checkpoints/*/{TOPIC_FOLDER}/*"):
        known.rename(known.with_name(require_topic(spark, kafka, TOPIC)))
    yield tmp_path
    delete_topics(kafka, TOPIC, progress_topic(TOPIC))


def delete_topics(kafka: str, *names: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.delete_topics(names)
    admin.close()


def load_tables(dump: Path) -> None:
    """The earlier tables, into the schema of the environment."""
    with as_owner() as owner:
        schema = owner.execute("SELECT current_schema()").fetchall()[0][0]
        owner.execute(moved(dump.read_text(encoding="utf-8"), schema).encode())


def moved(dump: str, schema: str) -> str:
    """A dump of the schema public, for another schema and without commands of psql and settings of the session."""
    others = ("\\", "SET ", "SELECT pg_catalog", "CREATE SCHEMA", "COMMENT ON SCHEMA")
    kept = "\n".join(line for line in dump.splitlines() if not line.startswith(others))
    return kept.replace("public.", f"{schema}.").replace("'public'", f"'{schema}'")


def send_again(spark: SparkSession, kafka: str, archive: Path) -> None:
    """The records of the earlier topic, each at its offset."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, topic_configs=Declared().clicks)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for row in spark.read.format("delta").load(str(archive)).orderBy("partition", "offset").collect():
        headers = [(header.key, bytes(header.value)) for header in row.headers]
        producer.send(TOPIC, bytes(row.value), key=row.key and bytes(row.key), headers=headers, partition=row.partition)
    producer.close()


def run(job: ModuleType, *options: str) -> None:
    """A job in this process."""
    job.run(job.parser().parse_args(options))


def run_chain(kafka: str, log: Path, lake: Path) -> None:
    """Today's producer and jobs, from the log to the hot tables."""
    days = [f"--first-date={DAYS[0]}", f"--last-date={NEW_DAY}"]
    subprocess.run([*command("batch", kafka, log, TOPIC), *days], cwd=REPOSITORY, check=True, capture_output=True)
    curated, mart = f"--curated-path={lake}/curated_stream", f"--mart-path={lake}/analytics_mart"
    source = [f"--kafka-brokers={kafka}", f"--topic={TOPIC}", f"--checkpoint-path={lake}/checkpoints"]
    run(streaming_curated, curated, *source, "--until-caught-up=true", "--max-bad-share=1")
    run(archive_raw, f"--archive-path={lake}/archive_raw", *source)
    run(analytics_mart_etl, curated, mart, "--incremental=true")
    run(load_postgres, mart)
    run(analytics_mart_realtime, curated, source[-1], "--until-caught-up=true")


def check(spark: SparkSession, kafka: str, lake: Path, log: Path, again: list[Path], but: str = "") -> None:
    """Every record is in the archive once, and all cells of the cold tables are right, `but` those of a column.

    The files of `again` were sent once more.
    """
    archive = spark.read.format("delta").load(f"{lake}/archive_raw/clicks").select("partition", "offset")
    assert archive.count() == archive.distinct().count() == stored(kafka, TOPIC)
    found, expected = cold_rows(), reference.cold_tables(log, again=again)
    for table, rows in expected.items():
        kept = [number for number, name in enumerate(reference.COLUMNS[table].split(", ")) if name != but]
        ours, right = ([[row[number] for number in kept] for row in of] for of in (found[table], rows))
        assert ours == right, table
    newest = dt.date.fromisoformat(max(file.stem for file in log.glob("*.json")))
    assert rows_of("SELECT max(event_minute)::date FROM mart_realtime_traffic_minute") == [(newest,)]


@pytest.mark.usefixtures("database")
def test_every_cell_is_right_after_an_upgrade(spark: SparkSession, kafka: str, earlier: Path) -> None:
    log, lake = earlier / "log", earlier / "lake"
    load_tables(earlier / "postgres.sql")
    assert len(cold_rows()["daily_traffic"]) == len(DAYS)
    # How far the earlier files were sent is not in this Kafka: they are sent again, and count once.
    known = sorted(log.glob("*.json"))
    write_day(log, NEW_DAY, scale=0.05, seed=3, dirty=True)
    run_chain(kafka, log, lake)
    check(spark, kafka, lake, log, again=known)


@pytest.fixture
def postgres_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgreSql]:
    """A server whose database a test may drop, and the environment of this process leads there."""
    for postgres in running(PostgreSql(Home(tmp_path / "stack", any_port=True))):
        for name, value in {**postgres.connection, "PGOPTIONS": "-c search_path=public"}.items():
            monkeypatch.setenv(name, value)
        yield postgres


@pytest.mark.faults
@IN_FULL
def test_earlier_jobs_go_on_with_the_backup_after_todays_have_run(
    spark: SparkSession, kafka: str, earlier: Path, postgres_of_its_own: PostgreSql
) -> None:
    log, lake, saved = earlier / "log", earlier / "lake", earlier / "backup"
    load_tables(earlier / "postgres.sql")
    allow_as_then(postgres_of_its_own)  # which the backup has, too
    dump = str(earlier / f"{DATABASE}.dump")
    as_superuser(postgres_of_its_own, "pg_dump", "--format=custom", f"--file={dump}", DATABASE)
    shutil.copytree(lake, saved)
    known = sorted(log.glob("*.json"))
    write_day(log, NEW_DAY, scale=0.05, seed=3, dirty=True)
    run_chain(kafka, log, lake)

    # As docs/operations.md says.
    as_superuser(postgres_of_its_own, "dropdb", "--force", DATABASE)
    as_superuser(postgres_of_its_own, "pg_restore", "--create", "--dbname=postgres", dump)
    lake.rename(earlier / "moved away")
    saved.rename(lake)
    delete_topics(kafka, progress_topic(TOPIC))
    assert len(cold_rows()["daily_traffic"]) == len(DAYS)

    sent = sorted(log.glob("*.json"))
    write_day(log, NEW_DAY + dt.timedelta(days=1), scale=0.05, seed=4, dirty=True)
    commit = (earlier / COMMIT).read_text(encoding="ascii").strip()
    EarlierJobs(commit, earlier / "project", postgres_of_its_own.connection).chain(log, lake, kafka)
    # Which clicks came late is by the order within a partition of Kafka; the reference knows that of all lines.
    check(spark, kafka, lake, log, again=[*known, *sent], but="late_count")
