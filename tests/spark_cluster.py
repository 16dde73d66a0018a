"""A standalone cluster for tests: a master and two workers of one core, from PySpark's own jars."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

import pyspark

from stack import spark_start
from stack.home import Home, free_port
from stack.machine import java_home
from stack.server import Server
from stack.settings import HOST

WORKERS = 2
_SPARK = Path(pyspark.__file__).parent


class SparkCluster(Server):
    """Its executors know PySpark and this Python's packages, and nothing of the repository."""

    name = "spark"

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._port = self._web_port = 0

    @property
    def address(self) -> str:
        """spark://host:port, the value of SPARK_MASTER."""
        return f"spark://{HOST}:{self._port}"

    def environment(self) -> dict[str, str]:
        """Without the repository's modules."""
        named = {"SPARK_HOME": str(_SPARK), "JAVA_HOME": str(java_home()), "SPARK_LOCAL_IP": HOST}
        named["SPARK_SCALA_VERSION"] = "2.13"  # without it a worker looks for a source tree
        others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**others, **named, "PYSPARK_PYTHON": sys.executable}

    def claim(self) -> None:
        """Any free ports."""
        self._port, self._web_port = free_port(), free_port()

    def process_names(self) -> tuple[str, ...]:
        """Master and workers."""
        return ("spark-master", *(f"spark-worker-{number}" for number in range(WORKERS)))

    def commands(self) -> dict[str, Sequence[str]]:
        """The workers start when the master listens: one that is too early asks again only seconds later."""
        java, here = _java(), ["--host", HOST, "--webui-port"]
        master = ["org.apache.spark.deploy.master.Master", *here, str(self._web_port), "--port", str(self._port)]
        commands: dict[str, Sequence[str]] = {"spark-master": [*java, *master]}
        for name in self.process_names()[1:]:
            worker = ["org.apache.spark.deploy.worker.Worker", *here, "0", "--cores", "1", "--memory", "1g"]
            work = ["--work-dir", str(self.home.folder("spark", name)), self.address]
            listening = f"until (: < /dev/tcp/{HOST}/{self._port}) 2> /dev/null; do sleep 0.1; done; exec "
            commands[name] = ["bash", "-c", listening + shlex.join([*java, *worker, *work])]
        return commands

    def probe(self) -> bool:
        """The master counts its workers."""
        with urlopen(f"http://{HOST}:{self._web_port}/json/", timeout=5) as answer:
            return bool(json.load(answer)["aliveworkers"] == WORKERS)


def _java() -> list[str]:
    """As spark-class would start it after a JVM that only makes the command; from the archive of a driver's classes."""
    options = spark_start.settings()
    words = shlex.split(options["spark.driver.defaultJavaOptions"])
    return [str(java_home() / "bin" / "java"), "-Xmx256m", *words, "-cp", options["spark.driver.extraClassPath"]]
