"""What Prometheus is told of a real broker, of what the streams write, and of PostgreSQL, as the role of readers."""

from __future__ import annotations

import gc
import logging
import os
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from jobs.kafka_security import PLAINTEXT
from jobs.metrics import lake as of_lake
from jobs.metrics.__main__ import scrape
from jobs.metrics.kafka import OVERDUE_HOURS, Cluster, Ends
from jobs.metrics.lake import Lake as Files
from jobs.metrics.lake import Paths
from jobs.spark.delta_log import newest
from jobs.spark.migrations import migrate
from jobs.spark.one_writer import one_writer
from stack.postgresql import PostgreSql
from tests.integration.jobs.spark.databases import as_owner, database  # noqa: F401  (a fixture)
from tests.integration.jobs.spark.lake import BROKEN, Lake, line
from tests.s3_service import BUCKET, S3Service

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("database"),
    # kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collect such sockets here, where the complaint is ignored, and not in the next module's tests."""
    caplog.set_level(logging.CRITICAL, "kafka")  # a record of the log would hold the connection until after that
    yield
    gc.collect()


def found(lake: Lake, brokers: str) -> dict[str, float]:
    """The values by metric and labels."""
    root = str(lake.root)
    files = Files(Paths(root, f"{root}/archive", f"{root}/mart", root), lake.topic)
    lines = scrape(Cluster(brokers, PLAINTEXT, lake.topic), files).splitlines()
    values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("tripclick_"): float(value) for name, _, value in values}


def test_metrics_of_running_servers(
    spark: SparkSession,
    kafka: str,
    postgres_server: PostgreSql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lake = Lake(spark, kafka, tmp_path)
    lake.send([line(0), line(1), line(2), line(3), BROKEN])
    lake.run(lake.curated(), "streaming_curated")
    lake.send([line(4), line(5)])
    table = newest(spark, str(tmp_path / "clicks"))
    with psycopg.connect("", autocommit=True) as connection:
        migrate(connection)
    with as_owner() as owner:
        batch = (table.table_id, table.version - 1)
        owner.execute("INSERT INTO mart_realtime_batches VALUES (%s, %s, now() - interval '1 hour')", batch)
        owner.execute("INSERT INTO daily_traffic VALUES (current_date - 9, 1, 1, 1, 0), (current_date - 7, 1, 1, 1, 0)")
    for name, value in zip(("PGUSER", "PGPASSWORD"), postgres_server.reader, strict=True):
        monkeypatch.setenv(name, value)

    with one_writer(spark, str(tmp_path / "clicks")):
        values = found(lake, kafka)
    lag = [values[f'stream_lag_records{{stream="streaming_curated",partition="{number}"}}'] for number in range(3)]
    assert lag == [1, 1, 0]
    assert values['stream_overdue_records{stream="streaming_curated",partition="0"}'] == 0
    assert values['stream_read_offset{stream="streaming_curated",partition="0"}'] == 2
    assert 0 < values['stream_batch_seconds{stream="streaming_curated"}'] < 60
    assert (values["records_read"], values["records_quarantined"]) == (5, 1)
    assert [name for name in values if 'place="curated_stream",holder="tests, process ' in name]
    assert values[f'replicas_short{{topic="{lake.topic}"}}'] == 0
    assert values["missing_days"] == 1 + 5, "the gap, and all until the day before yesterday"
    hot = 'table="mart_realtime_traffic_minute"'
    written, event = (values[f"table_{kind}_timestamp_seconds{{{hot}}}"] for kind in ("written", "event"))
    assert written - event == pytest.approx(3600)
    assert values["hot_behind_seconds"] > 0
    assert [values[f'source_up{{source="{name}"}}'] for name in ("kafka", "postgresql", "lake")] == [1, 1, 1]

    monkeypatch.setenv("PGPORT", "1")
    values = found(lake, NOBODY)
    assert [values[f'source_up{{source="{name}"}}'] for name in ("kafka", "postgresql", "lake")] == [0, 0, 1]
    assert values["records_read"] == 5, "what the others say is not lost"
    said = capsys.readouterr().out
    assert "kafka does not answer: " in said
    assert "postgresql does not answer: PostgreSQL: " in said
    assert os.environ["PGPASSWORD"] not in said


def test_records_that_came_long_ago_are_overdue(kafka: str) -> None:
    topic = f"metrics.{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(topic, 3, 1)])  # whose records' timestamps are the producer's
    admin.close()
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    now = time.time()
    for partition, hours in ((0, OVERDUE_HOURS + 1), (0, OVERDUE_HOURS - 1), (1, OVERDUE_HOURS + 1)):
        producer.send(topic, b"{}", partition=partition, timestamp_ms=round((now - hours * 3600) * 1000))
    producer.close()
    _, ends = Cluster(kafka, PLAINTEXT, topic).ask()
    assert ends == {"0": Ends(2, 1), "1": Ends(1, 1), "2": Ends(0, 0)}


def test_metrics_of_a_lake_on_s3(s3: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.key, "AWS_ENDPOINT_URL": s3.address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(of_lake, "_s3", cache(of_lake._s3.__wrapped__))
    stream = "metrics/checkpoint/streaming_curated"
    lease = '{"holder": "etl r2", "renewed": 17}'
    files = {
        f"{stream}/offsets/7": 'v1\n{}\n{"t": {"0": 10}}',
        f"{stream}/commits/7": "v1\n{}",
        "metrics/mart/_writer/000000000003": lease,
    }
    with s3.client() as client:
        for key, content in files.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=content.encode())
    roots = [f"s3a://{BUCKET}/metrics/{name}" for name in ("curated", "archive", "mart", "checkpoint")]
    samples = list(Files(Paths(*roots), "t").ask({"0": Ends(12, 11)}, 5))
    values = {(sample.name.removeprefix("tripclick_"), *sample.labels.values()): sample.value for sample in samples}
    assert values["stream_lag_records", "streaming_curated", "0"] == 2
    assert values["lease_renewed_timestamp_seconds", "analytics_mart", "etl r2"] == 17
    assert values["hot_behind_seconds",] == 0
