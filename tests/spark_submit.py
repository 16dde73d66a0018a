"""How tests run a job in a process of its own, as Spark's host does: by spark-submit."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from stack import spark_start
from stack.machine import java_home
from stack.settings import REPOSITORY

# Of some rows: to write code for each query, and to compile it, takes a fourth of the time.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
_PROGRAMS = Path(sys.executable).parent


def words(script: str, settings: Mapping[str, str]) -> list[str]:
    """The words before the script's own options, with these settings of Spark."""
    confs = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    return [str(_PROGRAMS / "spark-submit"), *confs, script]


def command(script: str, settings: Mapping[str, str] | None = None) -> list[str]:
    """The same with the settings of a Spark server; these win."""
    usual = {
        "spark.master": "local[2]",
        "spark.driver.memory": "1g",
        "spark.jars": spark_start.jars(),
        "spark.ui.enabled": "false",
        **spark_start.settings(),
    }
    return words(script, {**usual, **(settings or {})})


def environment() -> dict[str, str]:
    """Of the process: this Python, the repository's modules, a Java that Spark runs on."""
    return {
        **os.environ,
        "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PYSPARK_PYTHON": sys.executable,
        "JAVA_HOME": str(java_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
