"""The data of an earlier commit goes on with this one's jobs, and every cell is as if it had always been theirs."""

from __future__ import annotations

import datetime as dt
import subprocess
import tarfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from jobs.event import PARTITIONS
from jobs.generator.__main__ import write_day
from jobs.kafka_topic import Declared
from jobs.spark import analytics_mart_etl, analytics_mart_realtime, archive_raw, load_postgres, streaming_curated
from jobs.spark.kafka_required import TOPIC_FOLDER, require_topic
from stack.settings import REPOSITORY
from tests import reference
from tests.integration.jobs.spark.cold import cold_rows
from tests.integration.jobs.spark.databases import as_owner, database, rows_of  # noqa: F401  (a fixture)
from tests.kafka_runs import command, stored
from tests.upgrade import DATA, DAYS, TOPIC

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("database")]
NEW_DAY = dt.date.fromisoformat(DAYS[1]) + dt.timedelta(days=1)


@pytest.fixture
def earlier(spark: SparkSession, kafka: str, tmp_path: Path) -> Path:
    """What the earlier jobs have left: a log, a lake with checkpoints, PostgreSQL's tables, and the topic."""
    with tarfile.open(DATA) as archive:
        archive.extractall(tmp_path, filter="data")
    with as_owner() as owner:
        schema = owner.execute("SELECT current_schema()").fetchall()[0][0]
        owner.execute(moved((tmp_path / "postgres.sql").read_text(encoding="utf-8"), schema).encode())
    send_again(spark, kafka, tmp_path / "lake/archive_raw/clicks")
    for known in tmp_path.glob(f"lake/checkpoints/*/{TOPIC_FOLDER}/*"):
        known.rename(known.with_name(require_topic(spark, kafka, TOPIC)))
    return tmp_path


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


def test_every_cell_is_right_after_an_upgrade(spark: SparkSession, kafka: str, earlier: Path) -> None:
    log, lake = earlier / "log", earlier / "lake"
    known = sorted(log.glob("*.json"))
    before = cold_rows()
    assert len(before["daily_traffic"]) == len(DAYS)
    write_day(log, NEW_DAY, scale=0.05, seed=3, dirty=True)
    old = stored(kafka, TOPIC)
    days = [f"--first-date={DAYS[0]}", f"--last-date={NEW_DAY}"]
    subprocess.run([*command("batch", kafka, log, TOPIC), *days], cwd=REPOSITORY, check=True, capture_output=True)
    new = stored(kafka, TOPIC) - old

    curated, mart = f"--curated-path={lake}/curated_stream", f"--mart-path={lake}/analytics_mart"
    source = [f"--kafka-brokers={kafka}", f"--topic={TOPIC}", f"--checkpoint-path={lake}/checkpoints"]
    run(streaming_curated, curated, *source, "--until-caught-up=true", "--max-bad-share=1")
    run(archive_raw, f"--archive-path={lake}/archive_raw", *source)
    run(analytics_mart_etl, curated, mart, "--incremental=true")
    run(load_postgres, mart)
    run(analytics_mart_realtime, curated, source[-1], "--until-caught-up=true")
    assert spark.read.format("delta").load(f"{lake}/archive_raw/clicks").count() == old + new
    # How far the earlier files were sent is not in this Kafka: they were sent again, and count once.
    found, expected = cold_rows(), reference.cold_tables(log, again=known)
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert rows_of("SELECT max(event_minute)::date FROM mart_realtime_traffic_minute") == [(NEW_DAY,)]
