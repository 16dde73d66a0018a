"""Production as a whole: four hosts, what runs on each, and the environment file that leads there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from stack.home import Home
from stack.producer_image import ensure_image
from stack.server import Server
from stack.settings import DATABASE, DATABASE_LOGIN, PRODUCER_IMAGE, REPOSITORY
from stack.sshd import user_name
from stack.stack import Stack
from tests import airflow_project
from tests.production.hosts import Host
from tests.production.packages import install_packages
from tests.production.parts import (
    BRANCH,
    Central,
    Databases,
    EdgeWorker,
    Engine,
    GitServer,
    KafkaKeys,
    SecureBroker,
    SecureFollower,
    SparkServer,
    Workers,
    on,
)
from tests.s3_service import BUCKET, REGION, S3Service
from tests.tls_engine import tls_extra

HOSTS = ("af", "web", "spark", "db")
ENVIRONMENT = "four_hosts"
MEMORY_LIMIT = 12 * 2**30


class Production(Stack):
    """`af` runs Airflow's four roles, `web` brokers and engine, `spark` cluster, sshd and S3, `db` PostgreSQL."""

    def __init__(self, home: Home, hosts: Mapping[str, Host]) -> None:
        super().__init__(home)
        af, web, spark, db = (hosts[name] for name in HOSTS)
        self.hosts = hosts
        self.keys = KafkaKeys(home, web)
        first = SecureBroker(home)
        followers = [SecureFollower(_part(home, f"kafka-{number}"), first, number) for number in (2, 3)]
        self.brokers = [on(web, broker) for broker in (first, *followers)]
        for broker in self.brokers:
            broker.keys = self.keys
        self.databases = on(db, Databases(home))
        self.lake = on(spark, S3Service(home))
        self.cluster = on(spark, Workers(home))
        self.engine = on(web, Engine(home))
        self.git = on(af, GitServer(home))
        self.central = on(af, Central(home, self.databases, self.git))
        self.central.project = home.root / "project"
        queues = {"web": ("web", "default"), "spark": ("spark",)}
        self.workers = {
            name: on(hosts[name], EdgeWorker(_part(home, f"edge-{name}"), self.central, self.databases, name, *of))
            for name, of in queues.items()
        }
        # Those that a stack has, too, for what is done with any stack.
        self.kafka, self.postgres, self.docker, self.airflow = first, self.databases, self.engine, self.central
        self.ssh = on(spark, SparkServer(home, self.lake))

    @property
    def parts(self) -> list[Server]:
        """All servers, in the order of their start."""
        before = [self.databases, self.lake, self.git, self.engine, self.cluster, *self.brokers, self.ssh]
        return [*before, self.central, *self.workers.values()]

    @property
    def lake_root(self) -> str:
        """Where the paths of the lake begin."""
        return f"s3a://{BUCKET}"

    @property
    def pipeline_environment(self) -> str:
        """The one of these hosts."""
        return ENVIRONMENT

    def up(self) -> None:
        """Start what does not run, commit the project, and lead Airflow to all of it."""
        self.keys.make()
        self.central.packages = install_packages()
        self.central.claim()  # whose address is in the settings of its own commands
        _together([self.databases, self.lake, self.git, self.engine, self.brokers[0]])
        with ThreadPoolExecutor() as threads:
            image = threads.submit(ensure_image, self.engine.address, self.home.folder("docker"))
            _together([*self.brokers[1:], self.cluster, self.ssh])
            self._begin_project()
            self.central.pipeline_environment = ENVIRONMENT
            self.central.prepare()
            self.central.import_settings(self.airflow_secrets())
            self.central.start()
            _together(list(self.workers.values()))
            image.result()

    def down(self) -> None:
        """Stop all, the last ones first."""
        for part in reversed(self.parts):
            part.stop()

    def airflow_secrets(self) -> dict[str, dict[str, Any]]:
        """The stack's, and the lake's key."""
        key, secret, _ = self.lake.key.values()
        return {**super().airflow_secrets(), "aws_s3": {"login": key, "password": secret}}

    def memory(self) -> int:
        """Bytes that all of it holds."""
        return sum(part.memory() for part in self.parts)

    def commit(self, message: str) -> str:
        """Commit what the project's folder has; returns the commit."""
        self._git("add", "--all")
        self._git("-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "--quiet", "-m", message)
        return self._git("rev-parse", "HEAD").strip()

    def deploy(self) -> subprocess.CompletedProcess[str]:
        """Move the branch that Airflow follows, if the check lets it."""
        command = [sys.executable, "-m", "pipeline_config", "deploy", "--to", f"origin/{BRANCH}"]
        return subprocess.run(command, cwd=self.central.project, capture_output=True, text=True, check=False)

    def push(self) -> None:
        """Move it past the check."""
        self._git("push", "--quiet", "origin", f"HEAD:{BRANCH}")

    def _begin_project(self) -> None:
        project = self.central.project
        if not project.exists():
            project.mkdir()
            airflow_project.copy(project)
            shutil.copy(REPOSITORY / ".airflowignore", project)
            shutil.copy(REPOSITORY / ".gitignore", project)
            file = project / "pipelines" / "environments" / f"{ENVIRONMENT}.yaml"
            file.write_text(yaml.safe_dump(self._environment(), sort_keys=False), encoding="utf-8")
            self._git("init", "--quiet")
            self._git("remote", "add", "origin", str(self.git.repository))
            self.commit("The project, for these hosts")
            done = self.deploy()
            assert done.returncode == 0, done.stderr

    def _environment(self) -> dict[str, Any]:
        """Production's, with the addresses of these hosts: its retries, its deferral, its operators."""
        lake = self.lake_root
        spark, db = self.hosts["spark"].address, self.hosts["db"].address
        gold = {"host": db, "port": self.home.port("postgres"), "login": DATABASE_LOGIN, "schema": DATABASE}
        return {
            "description": "Production on four network namespaces of this machine",
            "extends": "production",
            "variables": {
                "KAFKA_BROKERS": ",".join(broker.address for broker in self.brokers),
                "KAFKA_SECURITY_PATH": str(self.keys.client_folder),
                "S3_ARCHIVE_RAW_PATH": f"{lake}/archive_raw",
                "S3_CURATED_STREAM_PATH": f"{lake}/curated_stream",
                "S3_ANALYTICS_MART_PATH": f"{lake}/analytics_mart",
                "S3_CHECKPOINT_PATH": f"{lake}/checkpoints",
                "WEBSERVER_INGESTION_PATH": str(self.log_folder),
                "SPARK_PROJECT_PATH": str(REPOSITORY),
                "SPARK_MASTER": self.cluster.address,
                "SPARK_DRIVER_MEMORY": "1g",
                "SPARK_EXECUTOR_MEMORY": "512m",
                "SPARK_CORES": "2",
            },
            "connections": {
                "docker_server0": {"host": self.engine.tls_address, "extra": tls_extra(self.engine.certificates)},
                "spark_ssh": {"host": spark, "port": self.home.port("ssh"), "login": user_name()},
                "aws_s3": {"extra": {"region_name": REGION}},
                "postgres_gold": gold,
            },
            "schedules": False,  # runs are triggered
            "operators": {
                # The engine of a network namespace has no bridge of its own.
                "DockerOperator": {
                    "arguments": {"image": PRODUCER_IMAGE, "network_mode": "host", "queue": "web"},
                },
                "SSHOperator": {"arguments": {"queue": "spark"}},
                "TriggerDagRunOperator": {"arguments": {"poke_interval": 3}},
            },
        }

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.central.project), *words], check=True, capture_output=True, text=True
        )
        return done.stdout


def _part(home: Home, name: str) -> Home:
    """The folder of a part of which there are several."""
    return Home(home.root / name, any_port=True)


def _together(servers: Sequence[Server]) -> None:
    with ThreadPoolExecutor(len(servers)) as threads:
        for done in [threads.submit(server.start) for server in servers]:
            done.result()
