"""The one definition of every path, port and version of the stack."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[1]

KAFKA_JARS = REPOSITORY / "stack" / "kafka" / "jars"
KAFKA_CLASSES = KAFKA_JARS / "classes.jsa"
SPARK_JARS = REPOSITORY / "jobs" / "spark" / "jars"
VENV = REPOSITORY / ".venv"
SPARK_CLASSES = VENV / "spark-classes.jsa"
DASHBOARDS = REPOSITORY / "dashboards"
SUPERSET_LOCK = DASHBOARDS / "requirements.lock"
SUPERSET_VENV = REPOSITORY / ".venv-superset"

MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
JAVA_VERSIONS = (17, 21)
POSTGRES_VERSION = 15
DATABASE = "tripclick"
DATABASE_LOGIN = "tripclick"  # the jobs'

PRODUCER_IMAGE = "tripclick-producer:local"
PYTHON_IMAGE = "python:3.12-slim"
DEBIAN_IMAGE = "tripclick-base:local"

AIRFLOW_USER = "admin"


@dataclass(frozen=True)
class Port:
    """A port of the stack: its default, and the environment variable that overrides it."""

    default: int
    variable: str


PORTS = {
    "kafka": Port(19092, "STACK_KAFKA_PORT"),
    "kafka-controller": Port(19093, "STACK_KAFKA_CONTROLLER_PORT"),
    "postgres": Port(15432, "STACK_POSTGRES_PORT"),
    "ssh": Port(12222, "STACK_SSH_PORT"),
    "airflow": Port(18080, "STACK_AIRFLOW_PORT"),
    "superset": Port(18088, "STACK_SUPERSET_PORT"),
}


def default_home() -> Path:
    """The stack folder: STACK_HOME, else `.stack` in the repository."""
    return Path(os.environ.get("STACK_HOME") or REPOSITORY / ".stack").resolve()


def java_home() -> Path:
    """A Java that Spark 4 and Kafka 4 run on: Debian's, 17 first, else JAVA_HOME, else the `java` on PATH."""
    debian = sorted(Path("/usr/lib/jvm").glob("java-*-openjdk-*/bin/java"))
    named = [Path(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []
    found = [Path(path) for path in [shutil.which("java")] if path]
    for java in [*debian, *named, *found]:
        home = java.resolve().parents[1]
        if java.is_file() and _java_version(home) in JAVA_VERSIONS:
            return home
    raise StackError("no Java 17 or 21 found: run `make install` (Debian: apt-get install default-jre-headless)")


def postgres_binaries() -> Path:
    """The folder of initdb and postgres: Debian keeps them off the PATH. The wanted version first, else the newest."""
    debian = Path("/usr/lib/postgresql")
    versions = sorted((int(path.name) for path in debian.glob("[0-9]*") if path.name.isdecimal()), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*(debian / str(version) / "bin" for version in (POSTGRES_VERSION, *versions))]
    for folder in [*folders, *([Path(on_path).parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise StackError("no PostgreSQL server found: run `make install` (Debian: apt-get install postgresql)")


def _java_version(home: Path) -> int:
    """The major version as the Java's own `release` file has it; 0 when it has none."""
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    found = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0
