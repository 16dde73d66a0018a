"""The chain that the faults hit: a topic, the five Spark jobs as processes of their own, and what has to come out."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from jobs.errors import JobError
from jobs.event import PARTITIONS, SHIFT_HEADER
from jobs.known_errors import infrastructure_error
from jobs.producer.log_files import record_of
from jobs.producer.replay import WEEK_MS
from jobs.spark import tables
from jobs.spark.delta_log import is_table
from jobs.spark.migrations import OWNER
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.settings import REPOSITORY
from tests import reference, spark_submit
from tests.integration.jobs.spark.databases import make_schema
from tests.kafka_runs import ends
from tests.s3_service import BUCKET, S3Service

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SHIFT_MS = 288 * WEEK_MS
CURATED, ARCHIVE, ETL, LOAD, HOT = JOBS = (
    "streaming_curated",
    "archive_raw",
    "analytics_mart_etl",
    "load_postgres",
    "analytics_mart_realtime",
)
SEARCH_ETL, SEARCH_LOAD = SEARCH_JOBS = ("search_marts_etl", "load_search_marts")
LIMIT_SECONDS = 300
# By the order in which all records came: Kafka keeps it within a partition only, the reference knows of one.
OF_ARRIVAL = {"late_count", "quarantined_count"}
LAKE = [
    f"archive/{tables.ARCHIVE}",
    *(f"curated/{name}" for name in (tables.CLICKS, tables.QUARANTINE)),
    *(f"mart/{name}" for name in tables.COLD_MARTS),
]
SEARCH_LAKE = [f"mart/{tables.SEARCH}/{name}" for name in (tables.SEARCHES, *tables.SEARCH_MARTS)]
OF_THE_CLOCK = ("updated_at", "written_at", "detected_ts", "quarantined_ts")


def session_of(line: bytes) -> bytes:
    """The key of a line's record."""
    return str(record_of(line).get("SessionId") or "").encode()


def partition_of(session: bytes) -> int:
    """Where the records of a session go."""
    return hashlib.sha256(session).digest()[0] % PARTITIONS


def digest(rows: Iterable[object]) -> str:
    """Of rows in any order."""
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()


@dataclass
class Driver:
    """A running job, and the file of all that it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What the job has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def waits_for(self, is_so: Callable[[], bool], limit: float = LIMIT_SECONDS) -> bool:
        """Wait until it is so; False when the job ended before."""
        deadline = time.monotonic() + limit
        while not is_so():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return True

    def works(self, sign: str = " read") -> bool:
        """Wait for `sign`, as a rule the first progress line of its reading; False when it ended before."""
        return self.waits_for(lambda: sign in self.said)

    @property
    def batches(self) -> list[float]:
        """The seconds of each batch that it has read."""
        return [float(seconds) for seconds in re.findall(r"batch \d+: read .* took ([0-9.]+) s", self.said)]

    def is_stopped(self) -> None:
        """Wait until signal 19 has stopped it."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        assert self.waits_for(lambda: stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"), self.said

    def reads_on(self, before: int, limit: float = LIMIT_SECONDS) -> bool:
        """Wait until it has read more batches than before; False when it ended first."""
        return self.waits_for(lambda: len(self.batches) > before, limit)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to the JVM and the interpreter."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def wait(self, limit: float = LIMIT_SECONDS) -> int:
        """Wait for its end; returns the exit code."""
        return self.process.wait(limit)

    @property
    def error(self) -> str:
        """The one `error:` line of a job that ended red, without any stack trace."""
        lines = self.said.splitlines()
        assert "Traceback" not in self.said, self.said
        (line,) = [line for line in lines if line.startswith("error: ")]
        return line


@contextmanager
def driving(
    words: Sequence[str], log: Path, environment: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> Iterator[Driver]:
    """driver.py by spark-submit with these words and settings of Spark; it does not outlive the block."""
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*spark_submit.command("tests/faults/driver.py", settings), *words],
            cwd=REPOSITORY,
            env={**spark_submit.environment(), **environment},
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        driver = Driver(process, log)
        try:
            yield driver
        finally:
            driver.end()


class Chain:
    """A topic, the lake and the PostgreSQL schema of one chain. `sent` are the lines in Kafka, in their order."""

    def __init__(
        self, root: Path, kafka: KafkaBroker, postgres: PostgreSql, topic: str = "", s3: S3Service | None = None
    ) -> None:
        """With `topic`, of one that is there already; with `s3`, whose lake is there and not below `root`."""
        self.root, self.kafka, self.postgres = root, kafka, postgres
        self.lake = f"s3a://{BUCKET}/{uuid.uuid4().hex}" if s3 else str(root)
        self.topic = topic or f"faults.{uuid.uuid4().hex}"
        self.schema = f"faults_{uuid.uuid4().hex}"
        self.sent: list[bytes] = []
        root.mkdir(parents=True, exist_ok=True)
        self.way = s3.spark_environment(root) if s3 else {}
        if not topic:
            admin = KafkaAdminClient(bootstrap_servers=kafka.address)
            admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])
            admin.close()
        with self.connect() as connection:
            connection.execute(f"SET ROLE {OWNER}".encode())
            make_schema(connection, self.schema)

    @property
    def environment(self) -> dict[str, str]:
        """libpq's, which leads to the chain's own schema."""
        return {**self.postgres.connection, "PGOPTIONS": f"-c search_path={self.schema}"}

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the chain's schema."""
        return psycopg.connect(**self.postgres.login, options=self.environment["PGOPTIONS"], autocommit=True)

    def send(self, lines: Sequence[bytes]) -> None:
        """One record a line; a session stays in one partition, as the producer has it."""
        settings = {"enable.idempotence": True, "queue.buffering.max.messages": max(1, len(lines))}
        producer = Producer({"bootstrap.servers": self.kafka.address, **settings})
        failed: list[object] = []
        for line in lines:
            session = session_of(line)
            producer.produce(
                self.topic,
                line,
                session,
                partition_of(session),
                headers={SHIFT_HEADER: str(SHIFT_MS)},
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        assert producer.flush(LIMIT_SECONDS) == 0
        assert not failed
        self.sent += lines

    def arguments(self, job: str) -> list[str]:
        """The job's own options."""
        kafka = ["--kafka-brokers", self.kafka.address, "--topic", self.topic]
        checkpoint = ["--checkpoint-path", f"{self.lake}/checkpoints"]
        curated = ["--curated-path", f"{self.lake}/curated"]
        mart = ["--mart-path", f"{self.lake}/mart"]
        caught_up = ["--until-caught-up", "true"]
        return {
            CURATED: [*kafka, *checkpoint, *curated, *caught_up, "--max-bad-share", "1"],
            ARCHIVE: [*kafka, *checkpoint, "--archive-path", f"{self.lake}/archive"],
            ETL: [*curated, *mart],
            LOAD: mart,
            HOT: [*curated, *checkpoint, *caught_up],
            SEARCH_ETL: [*curated, *mart],
            SEARCH_LOAD: mart,
        }[job]

    def start(
        self,
        job: str,
        *driver: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Driver]:
        """The job by spark-submit, with options of driver.py and more of its own; it does not outlive the block."""
        words = [job, *driver, "--", *self.arguments(job), *options]
        log = self.root / f"{job}.{uuid.uuid4().hex}.log"
        return driving(words, log, {**self.environment, **self.way, **(environment or {})}, settings)

    def run(self, job: str) -> None:
        """The job to its end, in the Spark session of this process: that costs no start."""
        module = importlib.import_module(f"jobs.spark.{job}")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            module.run(module.parser().parse_args(self.arguments(job)))

    def error(self, job: str) -> str:
        """Why the job ends red, in its own words, in the Spark session of this process."""
        with pytest.raises(Exception) as raised:  # noqa: PT011  (whatever it is)
            self.run(job)
        message = raised.value if isinstance(raised.value, JobError) else infrastructure_error(raised.value)
        assert message, raised.value
        return str(message)

    def check(self, spark: SparkSession) -> None:
        """Every record is archived once and curated or quarantined once, and every table has the right numbers."""
        self.check_archive(spark)
        self.check_curated(spark)
        self.check_cold()
        self.check_minutes(spark)

    def check_archive(self, spark: SparkSession) -> None:
        """Every record is in the archive, as it came, once."""
        archive = spark.read.format("delta").load(f"{self.lake}/archive/{tables.ARCHIVE}")
        self._check_places("archive", archive)
        values = [bytes(row.value) for row in archive.select("value").collect()]
        assert sorted(values) == sorted(self.sent), "the archive holds other bytes"

    def check_curated(self, spark: SparkSession) -> None:
        """Every record is a click or in quarantine, once."""
        clicks, quarantine = (
            spark.read.format("delta").load(f"{self.lake}/curated/{name}").select("partition", "offset")
            for name in (tables.CLICKS, tables.QUARANTINE)
        )
        self._check_places("clicks and quarantine", clicks.unionByName(quarantine))

    def _check_places(self, name: str, rows: DataFrame) -> None:
        found = sorted((row.partition, row.offset) for row in rows.select("partition", "offset").collect())
        right = self.offsets()
        lost, double = len(set(right) - set(found)), len(found) - len(set(found))
        assert (lost, double) == (0, 0), f"{name}: {lost} records lost, {double} double"
        assert found == right, f"{name}: records that were never sent"

    def offsets(self) -> list[tuple[int, int]]:
        """Every (partition, offset) that has been sent."""
        found = ends(self.kafka.address, self.topic)
        assert sum(found.values()) == len(self.sent), "Kafka has lost records, or doubled some"
        return [(partition, offset) for partition, end in sorted(found.items()) for offset in range(end)]

    def check_cold(self) -> None:
        """Every cell of PostgreSQL's cold tables is the reference's."""
        folder = self.root / "expected"
        folder.mkdir(exist_ok=True)
        (folder / "sent.json").write_bytes(b"\n".join(self.sent))
        for table, expected in reference.cold_tables(folder, SHIFT_MS).items():
            names = [name.strip() for name in reference.COLUMNS[table].split(",")]
            kept = [number for number, name in enumerate(names) if name not in OF_ARRIVAL]
            there = sorted(self.rows(f"SELECT {reference.COLUMNS[table]} FROM {table}"))
            assert len(there) == len(expected), f"{table}: {len(there)} rows instead of {len(expected)}"
            for ours, right in zip(there, expected, strict=True):
                assert [ours[number] for number in kept] == [right[number] for number in kept], table

    def check_minutes(self, spark: SparkSession) -> None:
        """Every minute of the newest day has its distinct clicks; older ones may have come too late for it."""
        clicks = spark.read.format("delta").load(f"{self.lake}/curated/{tables.CLICKS}")
        clicks.dropDuplicates(["event_id"]).createOrReplaceTempView("distinct_clicks")
        expected = spark.sql(
            "SELECT unix_seconds(date_trunc('minute', event_ts)) AS minute, count(*), count(DISTINCT session_id) "
            "FROM distinct_clicks WHERE event_ts >= (SELECT date_trunc('day', max(event_ts)) FROM distinct_clicks) "
            "GROUP BY 1 ORDER BY 1"
        )
        there = self.rows(
            "SELECT extract(epoch FROM event_minute)::bigint, total_clicks, unique_sessions "
            "FROM mart_realtime_traffic_minute "
            "WHERE event_minute >= (SELECT date_trunc('day', max(event_minute)) FROM mart_realtime_traffic_minute) "
            "ORDER BY 1"
        )
        assert there == [tuple(row) for row in expected.collect()]

    def contents(self, spark: SparkSession) -> dict[str, str]:
        """A hash of the rows of every table there is, in the lake and in PostgreSQL, but for what a clock wrote."""
        found = {}
        for table in (*LAKE, *SEARCH_LAKE):
            if not is_table(spark, f"{self.lake}/{table}"):
                continue
            rows = spark.read.format("delta").load(f"{self.lake}/{table}").drop(*OF_THE_CLOCK)
            found[table] = digest(rows.select(*sorted(rows.columns)).collect())
        without = f"'{{{','.join(OF_THE_CLOCK)}}}'::text[]"
        there = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for table in {*tables.COLD_MARTS, *tables.HOT_MARTS, *tables.SEARCH_MARTS} & {name for (name,) in there}:
            found[table] = digest(self.rows(f"SELECT (to_jsonb({table}) - {without})::text FROM {table}"))
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What PostgreSQL answers."""
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()
