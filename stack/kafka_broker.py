"""One Kafka broker (KRaft: broker and controller in one process) from plain jars.

`python -m stack.kafka_broker` creates the archive of classes that halves its start, as `make install` does.
Without one, or with that of another Java, it starts anyway.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from stack.errors import StackError
from stack.home import Home
from stack.machine import java_home
from stack.server import Server
from stack.settings import KAFKA_CLASSES, KAFKA_JARS, REPOSITORY, template
from stack.spark_start import SILENT

SETTINGS = template("server.properties")


class KafkaBroker(Server):
    """Kafka; `address` is the bootstrap address."""

    name = "kafka"
    ports: ClassVar[tuple[str, ...]] = ("kafka", "kafka-controller")
    quorum: ClassVar[tuple[str, ...]] = ("--standalone",)  # controllers: this broker alone
    archive = f"SharedArchiveFile={KAFKA_CLASSES}"  # Java's option, to read or to write one

    @property
    def address(self) -> str:
        """host:port, the value of bootstrap.servers."""
        return f"{self.host}:{self.home.port('kafka')}"

    def commands(self) -> dict[str, Sequence[str]]:
        """The broker's command line."""
        return {self.name: [*self._java("512m"), "kafka.Kafka", str(self._settings)]}

    def prepare(self) -> None:
        """Write the settings; format the log folder the first time."""
        if not list(KAFKA_JARS.glob("kafka_*.jar")):
            raise StackError(f"no Kafka jars in {KAFKA_JARS.relative_to(REPOSITORY)}: run `make install`")
        data = self.home.folder("kafka") / "data"
        self._settings.write_text(
            SETTINGS.format(
                host=self.host,
                port=self.home.port("kafka"),
                controller_port=self.home.port("kafka-controller"),
                data=data,
            ),
            encoding="utf-8",
        )
        if not (data / "meta.properties").exists():
            self._format()

    def probe(self) -> bool:
        """Whether the broker lists a member of its cluster: itself, once it is registered and unfenced.

        By the wire protocol (Metadata, version 1, no topic), since no client can be asked for one try without retries.
        """
        api_key, version, correlation, no_client_id, topics = 3, 1, 1, -1, 0
        request = struct.pack(">hhihi", api_key, version, correlation, no_client_id, topics)
        with socket.create_connection((self.host, self.home.port("kafka")), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(12)
        _, answered, brokers = struct.unpack(">iii", answer)
        return bool(answered == correlation and brokers)

    def cluster_id(self) -> str:
        """The id of its new cluster."""
        return new_cluster_id()

    @property
    def _settings(self) -> Path:
        return self.home.folder("kafka") / "server.properties"

    def _format(self) -> None:
        tool = ["kafka.tools.StorageTool", "format", *self.quorum, "--ignore-formatted"]
        done = subprocess.run(
            [*self._java("128m"), *tool, "--cluster-id", self.cluster_id(), "--config", str(self._settings)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"the Kafka log folder cannot be formatted:\n{done.stdout}{done.stderr}")

    def _java(self, heap: str) -> list[str]:
        # The first compiler, the serial collector and a capped code cache: a broker for one person, not for a data
        # centre. Over minutes of load, what Java's second compiler saves is less than its own work.
        small = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:ReservedCodeCacheSize=64m"]
        limits = [f"-Xmx{heap}", *small, "-XX:+ExitOnOutOfMemoryError"]
        logging_ = f"-Dlog4j2.configurationFile={REPOSITORY / 'stack' / 'kafka' / 'log4j2.properties'}"
        classes = [f"-XX:{self.archive}", SILENT, "-cp", f"{KAFKA_JARS}/*"]
        return [str(java_home() / "bin" / "java"), *limits, logging_, *classes]


def new_cluster_id() -> str:
    """16 bytes as Kafka writes them. The first is 0: an id that began with `-` would be read as an option."""
    return urlsafe_b64encode(bytes(1) + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def make_archive() -> None:
    """Archive the classes that a broker loads when it starts and stops."""
    unfinished = KAFKA_CLASSES.with_suffix(".part")
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(Home(Path(folder), any_port=True))
        broker.claim()
        broker.prepare()
        broker.archive = f"ArchiveClassesAtExit={unfinished}"
        broker.start()
        broker.stop()
    if unfinished.exists():
        unfinished.replace(KAFKA_CLASSES)


if __name__ == "__main__":
    make_archive()
