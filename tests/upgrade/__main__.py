"""`python -m tests.upgrade COMMIT` writes what that commit's jobs leave of two small days: the data of test_upgrade.

Run it for the commit of a release, before the next one's jobs change what they write.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
from pathlib import Path

from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.settings import DATABASE, REPOSITORY
from tests.upgrade import COMMIT, DATA, DAYS, EarlierJobs, allow_as_then, as_superuser


def main() -> None:
    """Start the servers, run the chain of the earlier commit, and pack what it wrote."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("commit")
    named = ["git", "rev-parse", "--verify", f"{options.parse_args().commit}^{{commit}}"]
    commit = subprocess.run(named, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = root / "data"
        data.mkdir()
        (data / COMMIT).write_text(commit, encoding="ascii")
        home = Home(root / "stack", any_port=True)
        kafka, postgres = KafkaBroker(home), PostgreSql(home)
        try:
            kafka.start()
            postgres.start()
            _chain(commit.strip(), root / "project", data, kafka, postgres)
        finally:
            kafka.stop()
            postgres.stop()
        with tarfile.open(DATA, "w:xz") as archive:
            archive.add(data, arcname=".", filter=_without_names)


def _chain(commit: str, project: Path, data: Path, kafka: KafkaBroker, postgres: PostgreSql) -> None:
    allow_as_then(postgres)
    jobs = EarlierJobs(commit, project, postgres.connection)
    days = [f"--first-date={DAYS[0]}", f"--last-date={DAYS[-1]}"]
    jobs.module("generator", f"--out={data / 'log'}", "--scale=0.03", "--dirty", *days)
    jobs.chain(data / "log", data / "lake", kafka.address)
    dump = ["pg_dump", "--no-owner", "--no-privileges", "--schema=public", "--inserts", DATABASE]
    as_superuser(postgres, *dump, f"--file={data / 'postgres.sql'}")


def _without_names(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without checksum files, and whoever made it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.endswith(".crc") else entry


if __name__ == "__main__":
    main()
