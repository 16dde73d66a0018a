"""Production's parts: the stack's and the tests' servers with production's settings, each on its host."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from confluent_kafka.admin import AdminClient

from jobs import kafka_security
from stack import spark_start
from stack.airflow_server import Airflow
from stack.home import Home, write_private
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server
from stack.sshd import SshServer
from tests.certificates import make_certificates
from tests.kafka_cluster import Follower
from tests.production.hosts import Host
from tests.s3_service import S3Service
from tests.spark_cluster import SparkCluster
from tests.tls_engine import TlsEngine

ServerT = TypeVar("ServerT", bound=Server)
BRANCH = "deployed"
PRODUCER_UID = 65534  # whom the containers' job runs as
PLAIN = kafka_security.LOGIN_MODULES["PLAIN"]
SECURE = """
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={module} required username="admin" password="{admin}" \
user_admin="{admin}" user_tripclick="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server-both.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
"""
Settings = dict[str, dict[str, str]]


def on(host: Host, server: ServerT) -> ServerT:
    """The server on that host."""
    server.host, server.within = host.address, host.within
    return server


class SecureBroker(KafkaBroker):
    """Clients and brokers talk by TLS, with a login; three replicas, of which two must have a record."""

    number = 1
    keys: KafkaKeys

    def prepare(self) -> None:
        """The settings, and what makes them production's."""
        super().prepare()
        kept = [line for line in self._settings.read_text().splitlines() if "security.protocol.map" not in line]
        secure = SECURE.format(module=PLAIN, certificates=self.keys.certificates, **self.keys.passwords)
        write_private(self._settings, "\n".join(kept) + secure)

    def probe(self) -> bool:
        """The jobs' login is told that it is a member of the cluster."""
        login = kafka_security.read(str(self.keys.client_folder)).librdkafka
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0, **login})
        return self.number in client.list_topics(timeout=5).brokers


class SecureFollower(SecureBroker, Follower):
    """The same of a broker that is not the first."""

    def __init__(self, home: Home, first: KafkaBroker, number: int) -> None:
        Follower.__init__(self, home, first, number)
        self.number = number


class KafkaKeys:
    """The authority and the logins of a cluster on one host."""

    def __init__(self, home: Home, host: Host) -> None:
        self._home, self._host = home, host

    @property
    def certificates(self) -> Path:
        """Folder of the authority's and the brokers' certificates."""
        return self._home.folder("kafka-certificates")

    @property
    def passwords(self) -> dict[str, str]:
        """Of the brokers themselves, and of the jobs."""
        return {"admin": self._home.secret("kafka_admin"), "password": self._home.secret("kafka_password")}

    @property
    def client_folder(self) -> Path:
        """KAFKA_SECURITY_PATH: on the Docker host the container's user reads it."""
        return self._home.folder("kafka-client")

    def make(self) -> None:
        """Create all of it the first time."""
        if (self.client_folder / kafka_security.FILE).exists():
            return
        make_certificates(self.certificates, self._host.address)
        both = "".join((self.certificates / name).read_text() for name in ("server.key", "server.pem"))
        write_private(self.certificates / "server-both.pem", both)
        login = f'{PLAIN} required username="tripclick" password="{self.passwords["password"]}";'
        settings = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": login,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "ca.pem",
        }
        shutil.copy(self.certificates / "ca.pem", self.client_folder)
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        write_private(self.client_folder / kafka_security.FILE, text)
        for path in (self.client_folder, *self.client_folder.iterdir()):
            os.chown(path, PRODUCER_UID, PRODUCER_UID)
            path.chmod(0o700 if path.is_dir() else 0o600)


class Databases(PostgreSql):
    """The marts' and Airflow's, for the logins of other hosts."""

    metadata = "airflow"

    def prepare(self) -> None:
        """Create the data folder; its users may come from the network."""
        super().prepare()
        rules = self._data / "pg_hba.conf"
        rule = "host all all samenet scram-sha-256\n"
        text = rules.read_text(encoding="ascii")
        if rule not in text:
            rules.write_text(text + rule, encoding="ascii")

    def complete(self) -> None:
        """Besides the marts, Airflow's database and its owner."""
        super().complete()
        name = self.metadata
        if not self._execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = %s", name):
            self._execute("postgres", f"CREATE ROLE {name} LOGIN PASSWORD '{self._metadata_password}'")
            self._execute("postgres", f"CREATE DATABASE {name} OWNER {name}")

    @property
    def metadata_url(self) -> str:
        """As SQLAlchemy has it."""
        return f"postgresql+psycopg://{self.metadata}:{self._metadata_password}@{self.address}/{self.metadata}"

    def has_metadata(self) -> bool:
        """Whether Airflow has made its tables."""
        return self._execute(self.metadata, "SELECT to_regclass('dag_run') IS NOT NULL") == [(True,)]

    def worker_state(self, name: str) -> str:
        """What Airflow knows of an Edge worker: idle, running, offline, unknown; empty of one that never came."""
        found = self._execute(self.metadata, "SELECT state FROM edge_worker WHERE worker_name = %s", name)
        return str(found[0][0]) if found else ""

    @property
    def _metadata_password(self) -> str:
        return self.home.secret("airflow_database")


class Engine(TlsEngine):
    """The engine of a host, never the machine's own."""

    def start(self) -> None:
        """Start ours."""
        if not self.is_ready():
            make_certificates(self.certificates, self.host)
            self._start_own()


class Workers(SparkCluster):
    """Two workers whose cores suffice for the three jobs that run side by side."""

    cores = 3
    memory_each = "2g"


class SparkServer(SshServer):
    """sshd beside the cluster's master; its settings lead jobs to S3 and make executors start fast."""

    def __init__(self, home: Home, lake: S3Service) -> None:
        super().__init__(home)
        self._lake = lake

    def prepare(self) -> None:
        """The settings, and what production's administrator adds to Spark's."""
        super().prepare()
        executors = {name.replace("driver", "executor"): value for name, value in spark_start.settings().items()}
        file = self.home.folder("spark", "conf") / "spark-defaults.conf"
        lines = "".join(f"{name} {value}\n" for name, value in executors.items())
        file.write_text(file.read_text(encoding="utf-8") + lines + self._lake.spark_defaults, encoding="utf-8")


class GitServer(Server):
    """A repository by git's own protocol, which Airflow follows."""

    name = "git"
    ports = ("git",)

    @property
    def address(self) -> str:
        """The URL of the repository."""
        return f"git://{self.host}:{self.home.port('git')}/project.git"

    def prepare(self) -> None:
        """Create it, empty, the first time."""
        if not self.repository.exists():
            init = ["git", "init", "--quiet", "--bare", f"--initial-branch={BRANCH}"]
            subprocess.run([*init, str(self.repository)], check=True)

    def commands(self) -> dict[str, Sequence[str]]:
        """git daemon."""
        where = [f"--listen={self.host}", f"--port={self.home.port('git')}", f"--base-path={self.repository.parent}"]
        return {self.name: ["git", "daemon", "--reuseaddr", "--export-all", *where]}

    def probe(self) -> bool:
        """It lists its branches."""
        return subprocess.run(["git", "ls-remote", self.address], capture_output=True, check=False).returncode == 0

    @property
    def repository(self) -> Path:
        """The folder of the repository to which developers push."""
        return self.home.folder("git") / "project.git"


class Central(Airflow):
    """Airflow's four roles, on PostgreSQL, with Edge workers and the DAGs of a Git bundle."""

    packages: Path  # those of deploy/airflow.lock

    def __init__(self, home: Home, databases: Databases, git: GitServer) -> None:
        super().__init__(home)
        self._databases, self._git = databases, git

    def environment(self) -> dict[str, str]:
        """With these packages; the DAGs come with the bundle."""
        return {**super().environment(), "PYTHONPATH": str(self.packages)}

    def edge(self, folder: Path) -> Settings:
        """The settings that a host with an Edge worker needs: no database."""
        bundle = {
            "name": "project",
            "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
            "kwargs": {"tracking_ref": BRANCH, "repo_url": self._git.address, "refresh_interval": 10},
        }
        return {
            "core": {
                "executor": "airflow.providers.edge3.executors.EdgeExecutor,LocalExecutor",
                "execution_api_server_url": f"{self.address}/execution/",
                "load_examples": "False",
            },
            "api_auth": {"jwt_secret": self.home.secret("airflow_jwt", 48)},
            "edge": {
                "api_url": f"{self.address}/edge_worker/v1/rpcapi",
                "heartbeat_interval": "5",
                "job_poll_interval": "1",
            },
            "dag_processor": {
                "dag_bundle_config_list": json.dumps([bundle]),
                "dag_bundle_storage_path": str(folder / "bundles"),
            },
            "logging": {"base_log_folder": str(folder / "logs"), "colored_console_log": "False"},
            "dag_factory": {"enable_telemetry": "False"},
        }

    def _settings(self, passwords: Path) -> Settings:
        url = self._databases.metadata_url
        own: Settings = {
            "database": {"sql_alchemy_conn": url, "sql_alchemy_conn_async": url, "sql_alchemy_pool_size": "3"},
            "edge": {"api_enabled": "True"},
            # A task whose worker is not heard of for so long is tried again; by default 300 s.
            "scheduler": {
                "task_instance_heartbeat_timeout": "30",
                "task_instance_heartbeat_timeout_detection_interval": "5",
            },
        }
        return merged(super()._settings(passwords), self.edge(self._folder), own)

    def _has_database(self) -> bool:
        return self._databases.has_metadata()

    def _tune_database(self) -> None:
        """Nothing of SQLite's."""


class EdgeWorker(Server):
    """Runs the tasks of its queues on its host."""

    def __init__(self, home: Home, central: Central, databases: Databases, name: str, *queues: str) -> None:
        super().__init__(home)
        self._central, self._databases = central, databases
        self.name, self._queues = name, queues  # type: ignore[misc]

    @property
    def address(self) -> str:
        """Nobody comes to it."""
        return self.name

    def environment(self) -> dict[str, str]:
        """Airflow's, with a home of its own."""
        return {**self._central.environment(), "AIRFLOW_HOME": str(self._folder)}

    def commands(self) -> dict[str, Sequence[str]]:
        """The command line of the Edge worker."""
        words = ["--queues", ",".join(self._queues), "--concurrency", "6", "--edge-hostname", self.name]
        return {self.name: [sys.executable, "-P", "-m", "airflow", "edge", "worker", *words]}

    def prepare(self) -> None:
        """Write the worker's settings, and delete what a killed worker left."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self._central.edge(self._folder))
        with (self._folder / "airflow.cfg").open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            parser.write(file)
        for left in self._folder.glob("*.pid"):
            left.unlink()

    def probe(self) -> bool:
        """Airflow has heard of it."""
        return self._databases.worker_state(self.name) in {"idle", "running"}

    def is_missed(self) -> bool:
        """Airflow does not expect it any more; before, another one of its name is refused."""
        return self._databases.worker_state(self.name) in {"offline", "unknown"}

    @cached_property
    def _folder(self) -> Path:
        return self.home.folder("airflow")


def merged(*all_settings: Mapping[str, Mapping[str, str]]) -> Settings:
    """Sections of settings; the later ones win."""
    found: Settings = {}
    for settings in all_settings:
        for section, values in settings.items():
            found.setdefault(section, {}).update(values)
    return found
