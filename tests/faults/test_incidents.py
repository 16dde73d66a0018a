"""Thirteen incidents on a running Prometheus: each alert fires within two minutes, and none while all is well."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from jobs.event import PARTITIONS, TOPIC
from jobs.kafka_topic import Declared
from jobs.metrics.kafka import OVERDUE_HOURS
from jobs.metrics.lake import Paths
from jobs.producer.sender import Sender
from jobs.spark import archive_raw, streaming_curated
from jobs.spark.migrations import migrate
from jobs.spark.tally import FOLDER as TALLY
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server, open_directly
from tests.faults.conftest import IN_FULL, Tell, kill
from tests.kafka_cluster import three_brokers
from tests.prometheus import Prometheus
from tests.s3_service import BUCKET, S3Service

# kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
pytestmark = [pytest.mark.faults, IN_FULL, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

FIRES_SECONDS = 120
QUIET_SECONDS = 120
DECLARED = Declared(replication=3, min_insync_replicas=2)
LIMIT_PASSED = 11 * 60  # seconds; the limits of the streams are ten minutes


class Metrics(Server):
    """`python -m jobs.metrics`."""

    name = "metrics"
    ports = ("metrics",)

    def __init__(self, home: Home, brokers: str, paths: Paths, environment: dict[str, str]) -> None:
        super().__init__(home)
        self._brokers, self._paths, self._environment = brokers, paths, environment

    @property
    def address(self) -> str:
        """host:port"""
        return f"{self.host}:{self.home.port('metrics')}"

    def environment(self) -> dict[str, str]:
        """With what leads to PostgreSQL and S3."""
        return {**super().environment(), **self._environment}

    def commands(self) -> dict[str, Sequence[str]]:
        """It."""
        options = {"listen": self.address, "kafka-brokers": self._brokers, **self.paths}
        return {self.name: [sys.executable, "-m", "jobs.metrics", *(f"--{k}={v}" for k, v in options.items())]}

    @property
    def paths(self) -> dict[str, str]:
        """The options of the lake."""
        return {f"{name}-path": path for name, path in self._paths._asdict().items()}

    def probe(self) -> bool:
        """It answers."""
        with open_directly(f"http://{self.address}/metrics", timeout=20):
            return True


class Exporter(Server):
    """A host's, as far as Prometheus asks."""

    name = "exporter"
    ports = ("exporter",)

    @property
    def address(self) -> str:
        """host:port"""
        return f"{self.host}:{self.home.port('exporter')}"

    def commands(self) -> dict[str, Sequence[str]]:
        """Python's server of files, of which one is /metrics."""
        folder = self.home.folder("exporter")
        (folder / "metrics").write_text("node_load1 0\n", encoding="ascii")
        where = [str(self.home.port("exporter")), "--bind", self.host, "--directory", str(folder)]
        return {self.name: [sys.executable, "-m", "http.server", *where]}

    def probe(self) -> bool:
        """It answers."""
        with open_directly(f"http://{self.address}/metrics", timeout=5):
            return True


@dataclass
class Scene:
    """All that is watched, and who watches."""

    brokers: list[KafkaBroker]
    postgres: PostgreSql
    s3: S3Service
    lake: Path
    exporter: Exporter
    metrics: Metrics  # of a lake in a folder
    on_s3: Metrics  # of one on S3
    prometheus: Prometheus

    @property
    def clicks(self) -> Path:
        """The curated table."""
        return self.lake / "curated/clicks"

    def execute(self, *queries: str) -> None:
        """As the owner of the marts."""
        with psycopg.connect(**self.postgres.login, autocommit=True) as connection:
            for query in queries:
                connection.execute(query.encode())

    def commit(self, version: int, when: float) -> None:
        """A commit of new clicks, as far as it is looked at."""
        actions = [{"commitInfo": {"timestamp": round(when * 1000)}}, {"add": {"dataChange": True}}]
        write(self.clicks / f"_delta_log/{version:020}.json", "\n".join(map(json.dumps, actions)))

    def read_nothing(self, name: str, when: float) -> None:
        """The first micro-batch of a stream, which ended then."""
        offsets = {TOPIC: {str(partition): 0 for partition in range(PARTITIONS)}}
        stream = self.lake / "checkpoint" / name
        write(stream / "offsets/0", f"v1\n{{}}\n{json.dumps(offsets)}", when - 5)
        write(stream / "commits/0", "v1\n{}", when)

    def tally(self, batch: int, read: int, bad: int) -> None:
        """What a micro-batch has counted."""
        write(self.clicks / TALLY / f"stream-{batch}", json.dumps({"read": read, "bad": bad, "example": ""}))

    def fire(self, tell: Tell, caused: dict[str, Callable[[], object]], *expected: tuple[str, str]) -> None:
        """Cause incidents; the expected alerts fire in time."""
        began = time.monotonic()
        for cause in caused.values():
            cause()
        after: dict[tuple[str, str], float] = {}
        while missing := set(expected) - after.keys():
            now = time.monotonic() - began
            assert now < FIRES_SECONDS, f"not firing: {missing}; pending: {self.prometheus.alerts('pending')}"
            after |= dict.fromkeys(missing & self.prometheus.alerts(), now)
            time.sleep(0.5)
        tell(", ".join(f"{name} {of} {seconds:.0f} s".replace("  ", " ") for (name, of), seconds in after.items()))


def write(file: Path, content: str, when: float | None = None) -> None:
    """A file, as if it were written then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    os.utime(file, (when or time.time(), when or time.time()))


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Three brokers, PostgreSQL with loaded tables, two lakes, a host: all is well."""
    root = tmp_path_factory.mktemp("incidents")
    homes = {name: Home(root / name, any_port=True) for name in ("servers", "metrics", "on_s3")}
    servers, lake = homes["servers"], root / "lake"
    with ExitStack() as stack:

        def start(server: Server) -> None:
            stack.callback(server.stop)
            server.start()

        brokers = three_brokers(root)
        postgres, s3, exporter = PostgreSql(servers), S3Service(servers), Exporter(servers)
        for server in (*brokers, postgres, s3, exporter):
            start(server)
        user, password = postgres.reader
        environment = {**postgres.connection, "PGUSER": user, "PGPASSWORD": password}
        of_s3 = {**environment, **s3.key, "AWS_ENDPOINT_URL": s3.address}
        paths, s3_paths = (
            Paths(*(f"{place}/{name}" for name in ("curated", "archive", "mart", "checkpoint")))
            for place in (lake, f"s3a://{BUCKET}")
        )
        addresses = ",".join(broker.address for broker in brokers)
        metrics = Metrics(homes["metrics"], addresses, paths, environment)
        on_s3 = Metrics(homes["on_s3"], addresses, s3_paths, of_s3)
        for server in (metrics, on_s3):
            server.claim()
        targets = {"tripclick": [metrics.address, on_s3.address], "hosts": [exporter.address]}
        scene = Scene(brokers, postgres, s3, lake, exporter, metrics, on_s3, Prometheus(servers, targets))
        with psycopg.connect(**postgres.login, autocommit=True) as connection:
            migrate(connection)
        scene.execute(
            "INSERT INTO daily_traffic SELECT current_date - day, 1, 1, 1, 0 FROM generate_series(0, 9) AS day",
            "INSERT INTO mart_loads (table_name, row_count) VALUES ('daily_traffic', 1), ('hourly_traffic', 1)",
            "INSERT INTO mart_realtime_batches VALUES ('table', 0, now())",
        )
        scene.commit(0, time.time())
        for stream in (streaming_curated.NAME, archive_raw.NAME):
            scene.read_nothing(stream, time.time() - LIMIT_PASSED)  # nothing has come since
        scene.tally(0, 1000, 49)
        with Sender(addresses, TOPIC, DECLARED):
            pass
        for server in (metrics, on_s3, scene.prometheus):
            start(server)
        yield scene


def test_each_alert_fires_within_two_minutes_of_its_incident_and_none_before(scene: Scene, tell: Tell) -> None:
    prometheus, addresses = scene.prometheus, ",".join(broker.address for broker in scene.brokers)
    began = time.monotonic()
    while not (prometheus.scraped() and time.monotonic() > began + QUIET_SECONDS):
        assert time.monotonic() < began + QUIET_SECONDS + 60, "a target was never scraped"
        time.sleep(1)
    assert not prometheus.alerts("pending") | prometheus.alerts()

    def send() -> None:
        with Sender(addresses, TOPIC, DECLARED) as sender:
            sender.send([b"{}"] * 10, 0)
            sender.finish(10)

    def came_long_ago() -> None:
        """A record, by a timestamp that the topic does not take otherwise."""
        admin = KafkaAdminClient(bootstrap_servers=addresses)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"message.timestamp.type": "CreateTime"})])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=addresses, acks="all")
        producer.send(TOPIC, b"{}", timestamp_ms=round((time.time() - (OVERDUE_HOURS + 1) * 3600) * 1000))
        producer.close()

    long_ago = "UPDATE mart_loads SET loaded_at = now() - interval '2 days' WHERE table_name = "
    postgres_of = scene.metrics.address
    scene.fire(
        tell,
        {
            "the hot stream has died": lambda: scene.commit(1, time.time() - LIMIT_PASSED),
            "the raw archive has not been written since yesterday": came_long_ago,
            "the curated stream has died while clicks come": send,
            "the daily run has failed": lambda: scene.execute(f"{long_ago} 'daily_traffic'"),
            "the search marts' run has failed": lambda: scene.execute(f"{long_ago} 'hourly_traffic'"),
            "a flood of bad records": lambda: scene.tally(1, 1000, 60),
            "a day of the log has not come": lambda: scene.execute(
                "DELETE FROM daily_traffic WHERE event_date = current_date - 4"
            ),
            "a broker has died": lambda: kill(scene.brokers[2]),
            "a host is down": lambda: kill(scene.exporter),
        },
        ("HotTablesStale", postgres_of),
        ("CuratedStreamStalled", ""),
        ("RawArchiveLate", ""),
        ("DailyRunLate", postgres_of),
        ("SearchRunLate", postgres_of),
        ("ManyQuarantined", postgres_of),
        ("DayMissing", postgres_of),
        ("UnderReplicated", ""),
        ("HostDown", scene.exporter.address),
    )
    scene.fire(
        tell,
        {
            "PostgreSQL does not answer": lambda: kill(scene.postgres),
            "the lake does not answer": lambda: kill(scene.s3),
            "Kafka does not answer": lambda: [*map(kill, scene.brokers[:2])],
        },
        *(("ServerDown", source) for source in ("postgresql", "lake", "kafka")),
    )
    scene.fire(
        tell,
        {"the metrics' own process has died": lambda: kill(scene.on_s3)},
        ("HostDown", scene.on_s3.address),
    )
