"""The one definition of every path, port and version of the stack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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


def template(name: str) -> str:
    """A file of stack/templates; its {names} are for str.format."""
    return (REPOSITORY / "stack" / "templates" / name).read_text(encoding="utf-8")
