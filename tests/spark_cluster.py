"""A standalone cluster for tests: a master and two workers of one core, from PySpark's own jars."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyspark

from stack import spark_start
from stack.machine import java_home
from stack.server import Server, open_directly

WORKERS = ("spark-worker-0", "spark-worker-1")
_SPARK = Path(pyspark.__file__).parent


class SparkCluster(Server):
    """A standalone cluster whose executors have PySpark and this Python's packages, and nothing of the repository."""

    name = "spark"
    ports = ("spark", "spark-web", *(f"{worker}{what}" for worker in WORKERS for what in ("", "-web")))
    cores = 1  # of each worker
    memory_each = "1g"

    @property
    def address(self) -> str:
        """spark://host:port, the value of SPARK_MASTER."""
        return f"spark://{self.host}:{self.home.port('spark')}"

    def environment(self) -> dict[str, str]:
        """Without the repository's modules."""
        named = {"SPARK_HOME": str(_SPARK), "JAVA_HOME": str(java_home()), "SPARK_LOCAL_IP": self.host}
        named["SPARK_SCALA_VERSION"] = "2.13"  # without it a worker looks for a source tree
        others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**others, **named, "PYSPARK_PYTHON": sys.executable}

    def process_names(self) -> tuple[str, ...]:
        """Master and workers."""
        return ("spark-master", *WORKERS)

    def commands(self) -> dict[str, Sequence[str]]:
        """The workers start when the master listens: one that is too early asks again only seconds later."""
        listening = (
            f"until (: < /dev/tcp/{self.host}/{self.home.port('spark')}) 2> /dev/null; do sleep 0.1; done; exec "
        )
        size = ["--cores", str(self.cores), "--memory", self.memory_each]
        commands: dict[str, Sequence[str]] = {"spark-master": self._listening("master.Master", "spark")}
        for name in WORKERS:
            work = ["--work-dir", str(self.home.folder("spark", name)), self.address]
            worker = [*self._listening("worker.Worker", name), *size, *work]
            commands[name] = ["bash", "-c", listening + shlex.join(worker)]
        return commands

    def executors(self) -> dict[str, int]:
        """How many cores each worker has given to executors, by the worker's id; of those that the master hears."""
        workers = self._state()["workers"]
        return {worker["id"]: worker["coresused"] for worker in workers if worker["state"] == "ALIVE"}

    def kill_one(self) -> None:
        """End a worker and its executors by signal 9."""
        self.daemons()[-1].stop(signal.SIGKILL, self.stop_limit)

    def start_missing(self) -> None:
        """Start what does not run, as systemd would; the master and the other worker go on."""
        for daemon, command in zip(self.daemons(), self.commands().values(), strict=True):
            if not daemon.pid:
                daemon.start([*self.within, *command], self.environment())
        self._wait_until_ready()

    def _listening(self, what: str, port: str) -> list[str]:
        places = {"--host": self.host, "--port": self.home.port(port), "--webui-port": self.home.port(f"{port}-web")}
        options = [word for option, value in places.items() for word in (option, str(value))]
        return [*_java(), f"org.apache.spark.deploy.{what}", *options]

    def probe(self) -> bool:
        """The master counts its workers."""
        return bool(self._state()["aliveworkers"] == len(WORKERS))

    def _state(self) -> dict[str, Any]:
        with open_directly(f"http://{self.host}:{self.home.port('spark-web')}/json/", timeout=5) as answer:
            state: dict[str, Any] = json.load(answer)
        return state


def _java() -> list[str]:
    """As spark-class would start it after a JVM that only makes the command; from the archive of a driver's classes."""
    options = spark_start.settings()
    words = shlex.split(options["spark.driver.defaultJavaOptions"])
    # Otherwise the master runs on port 6066 what anybody sends.
    words.append("-Dspark.master.rest.enabled=false")
    return [str(java_home() / "bin" / "java"), "-Xmx256m", *words, "-cp", options["spark.driver.extraClassPath"]]
