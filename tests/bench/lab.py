"""What the rows are measured on: logs of the generator, a broker, curated streams of any length, PostgreSQL.

Each part is made when the first row asks for it.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from jobs.event import PARTITIONS
from jobs.generator.__main__ import write_day
from jobs.spark import tables
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import PostgreSql
from stack.server import Server
from tests.bench import histories, process
from tests.bench.harness import Cost

ServerT = TypeVar("ServerT", bound=Server)

FIRST_DAY = dt.date(2019, 1, 1)
SEED = 1


@dataclass(frozen=True)
class Sizes:
    """Days: of the log that goes through Kafka, and of three lengths of history, of which the first is generated."""

    log: int = 19 * 28  # a million clicks
    month: int = 28
    year: int = 13 * 28
    history: int = 102 * 28  # 5.8 million clicks

    @classmethod
    def of(cls, days: int) -> Sizes:
        """Those of a log of so many days."""
        month = min(days, 28)
        return cls(days, month, days // month * month, days // month * month * 8)

    def __str__(self) -> str:
        return f"{self.log:,} days in Kafka, histories of {self.month:,}, {self.year:,} and {self.history:,} days"


class Lab:
    """A folder with everything in it; with `keep`, the logs and streams that are there are taken as they are."""

    def __init__(self, folder: Path, sizes: Sizes, *, keep: bool = False) -> None:
        self.sizes = sizes
        self._folder = folder = folder.resolve()  # the servers have other working folders
        # What an earlier version of the code has computed is nothing to go on from.
        shutil.rmtree(folder / "runs" if keep else folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as another user than root
        self._home = Home(folder / "servers", any_port=True)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the servers."""
        self._open.close()

    def last(self, name: str) -> Path:
        """The folder of the last run of this name."""
        return self._folder / "runs" / name

    def empty(self, name: str) -> Path:
        """An empty folder for the next run of this name; that of the last one goes."""
        folder = self.last(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def log(self, first: int, days: int) -> list[Path]:
        """The log files of so many days, from the first one on, the 0th is FIRST_DAY."""
        dates = [FIRST_DAY + dt.timedelta(days=number) for number in range(first, first + days)]
        files = [self.log_folder / f"{date}.json" for date in dates]
        missing = [date for date, file in zip(dates, files, strict=True) if not file.exists()]
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(write_day, *zip(*[(self.log_folder, date, 1, SEED) for date in missing], strict=True)))
        return files

    @property
    def log_folder(self) -> Path:
        """Where the log's files are."""
        return self._folder / "log"

    @cached_property
    def kafka(self) -> KafkaBroker:
        """A running broker."""
        return self._running(KafkaBroker(self._home))

    @cached_property
    def postgres(self) -> PostgreSql:
        """A running PostgreSQL with an empty database."""
        return self._running(PostgreSql(self._home))

    @cached_property
    def topic(self) -> str:
        """A topic that holds the log, as the batch producer sends it."""
        self.produce("bench.clicks", self.log(0, self.sizes.log))
        return "bench.clicks"

    def new_topic(self, name: str) -> str:
        """An empty topic whose name begins so, with the partitions that the contract declares."""
        topic = f"bench.{name}.{time.time_ns()}"
        admin = KafkaAdminClient(bootstrap_servers=self.kafka.address)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.close()
        return topic

    def produce(self, topic: str, files: Sequence[Path]) -> Cost:
        """The batch producer's cost of sending log files of days in a row into a topic."""
        words = [sys.executable, "-m", "jobs.producer", "batch", f"--kafka-brokers={self.kafka.address}"]
        words += [f"--ingestion-path={files[0].parent}", f"--topic={topic}"]
        return process.run([*words, f"--first-date={files[0].stem}", f"--last-date={files[-1].stem}"])

    def curated(self, days: int) -> Path:
        """The root of a curated stream of so many days, and what was appended since."""
        root = self._folder / f"curated-{days}"
        if not (root / "complete").exists():
            shutil.rmtree(root, ignore_errors=True)
            alone(histories.write_history, self.log(0, self.sizes.month), root, days // self.sizes.month)
            (root / "complete").touch()
        return root

    def one_more_day(self, days: int) -> None:
        """Append the next day to the curated stream of so many days."""
        root = self.curated(days)
        done = len(list(root.glob("later-*")))
        alone(histories.write_more, self.log(self.sizes.month + done, 1), root)
        (root / f"later-{done}").touch()

    @property
    def small_table(self) -> str:
        """A Delta table of a month of clicks."""
        return tables.table_path(str(self.curated(self.sizes.month)), tables.CLICKS)

    def _running(self, server: ServerT) -> ServerT:
        self._open.callback(server.stop)
        server.start()
        return server


def alone(function: Callable[..., Any], *arguments: Any) -> None:
    """Call it in a process of its own: a Spark that runs on would take part in what is measured next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()
