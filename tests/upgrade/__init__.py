"""What jobs of an earlier commit have left, where it goes, and these jobs themselves."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from stack.postgresql import SUPERUSER, PostgreSql
from stack.settings import REPOSITORY
from tests import spark_submit as by_spark

DATA = Path(__file__).with_name("earlier.tar.xz")
COMMIT = "commit"  # the file of the data that names it
DAYS = ("2026-05-04", "2026-05-05")
TOPIC = "tripclick.earlier"


def as_superuser(postgres: PostgreSql, *words: str) -> None:
    """Run a program of PostgreSQL's."""
    login = {**postgres.connection, "PGUSER": SUPERUSER, "PGPASSWORD": postgres.home.secret("postgres_superuser")}
    subprocess.run(words, env={**os.environ, **login}, check=True)


def allow_as_then(postgres: PostgreSql) -> None:
    """Earlier jobs call functions that nobody may call on a server of today."""
    grant = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO PUBLIC"
    as_superuser(postgres, "psql", "--quiet", "--command", grant)


class EarlierJobs:
    """The jobs of a commit, each in a process of its own, with this checkout's packages and jars."""

    def __init__(self, commit: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Checked out into the folder; `environment` is libpq's."""
        self._folder = folder
        self._environment = {**by_spark.environment(), **environment, "PYTHONPATH": str(folder)}
        content = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")

    def module(self, name: str, *options: str) -> None:
        """`python -m jobs.NAME`; what it prints is seen only if pytest shows it."""
        self._run(sys.executable, "-m", f"jobs.{name}", *options)

    def spark(self, name: str, *options: str) -> None:
        """A job of jobs/spark."""
        self._run(*by_spark.command(f"jobs/spark/{name}.py"), *options)

    def _run(self, *words: str) -> None:
        subprocess.run(words, cwd=self._folder, env=self._environment, check=True)

    def chain(self, log: Path, lake: Path, kafka: str) -> None:
        """The jobs from the log to the hot tables, in their order; all files of the log are sent."""
        days = sorted(file.stem for file in log.glob("*.json"))
        source = [f"--kafka-brokers={kafka}", f"--topic={TOPIC}"]
        sent = [f"--ingestion-path={log}", f"--first-date={days[0]}", f"--last-date={days[-1]}"]
        curated, mart = f"--curated-path={lake}/curated_stream", f"--mart-path={lake}/analytics_mart"
        archive, checkpoints = f"--archive-path={lake}/archive_raw", f"--checkpoint-path={lake}/checkpoints"
        self.module("producer", "batch", *source, *sent)
        self.spark("streaming_curated", curated, *source, checkpoints, "--until-caught-up=true", "--max-bad-share=1")
        self.spark("archive_raw", archive, *source, checkpoints)
        self.spark("analytics_mart_etl", curated, mart)
        self.spark("load_postgres", mart)
        self.spark("analytics_mart_realtime", curated, checkpoints, "--until-caught-up=true")
