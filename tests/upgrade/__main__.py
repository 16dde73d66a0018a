"""`python -m tests.upgrade COMMIT` writes what that commit's jobs leave of two small days: the data of test_upgrade.

Run it for the commit of a release, before the next one's jobs change what they write.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import SUPERUSER, PostgreSql
from stack.settings import DATABASE, REPOSITORY
from tests import spark_submit as by_spark
from tests.upgrade import DATA, DAYS, TOPIC


def main() -> None:
    """Start the servers, run the chain of the earlier commit, and pack what it wrote."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("commit")
    commit = options.parse_args().commit
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project, data = root / "project", root / "data"
        _git("worktree", "add", "--quiet", "--detach", str(project), commit)
        home = Home(root / "stack", any_port=True)
        kafka, postgres = KafkaBroker(home), PostgreSql(home)
        try:
            kafka.start()
            postgres.start()
            _chain(project, data, kafka, postgres)
        finally:
            kafka.stop()
            postgres.stop()
            _git("worktree", "remove", "--force", str(project))
        with tarfile.open(DATA, "w:xz") as archive:
            archive.add(data, arcname=".", filter=_without_names)


def _grant(login: Mapping[str, str]) -> None:
    """Earlier jobs may need functions that nobody may call today."""
    statement = "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO PUBLIC"
    subprocess.run(["psql", "--quiet", "--command", statement], env={**os.environ, **login}, check=True)


def _chain(project: Path, data: Path, kafka: KafkaBroker, postgres: PostgreSql) -> None:
    login = {**postgres.connection, "PGUSER": SUPERUSER, "PGPASSWORD": postgres.home.secret("postgres_superuser")}
    _grant(login)
    environment = {**by_spark.environment(), **postgres.connection, "PYTHONPATH": str(project)}

    def run(*words: str) -> None:
        subprocess.run(words, cwd=project, env=environment, check=True)

    def job(name: str, *words: str) -> None:
        run(*by_spark.command(f"jobs/spark/{name}.py"), *words)

    days = [f"--first-date={DAYS[0]}", f"--last-date={DAYS[1]}"]
    log = data / "log"
    run(sys.executable, "-m", "jobs.generator", f"--out={log}", "--scale=0.03", "--dirty", *days)
    source = [f"--kafka-brokers={kafka.address}", f"--topic={TOPIC}"]
    run(sys.executable, "-m", "jobs.producer", "batch", *source, f"--ingestion-path={log}", *days)
    lake = data / "lake"
    curated, mart = f"--curated-path={lake}/curated_stream", f"--mart-path={lake}/analytics_mart"
    archive, checkpoints = f"--archive-path={lake}/archive_raw", f"--checkpoint-path={lake}/checkpoints"
    job("streaming_curated", curated, *source, checkpoints, "--until-caught-up=true", "--max-bad-share=1")
    job("archive_raw", archive, *source, checkpoints)
    job("analytics_mart_etl", curated, mart)
    job("load_postgres", mart)
    job("analytics_mart_realtime", curated, checkpoints, "--until-caught-up=true")
    dump = ["pg_dump", "--no-owner", "--no-privileges", "--schema=public", "--inserts", DATABASE]
    with (data / "postgres.sql").open("wb") as sql:
        subprocess.run(dump, env={**os.environ, **login}, stdout=sql, check=True)


def _without_names(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without checksum files, and whoever made it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.endswith(".crc") else entry


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    main()
