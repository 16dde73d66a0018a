"""`make install`: Debian packages, the Python environment, the jars and the archives of their classes.

Each only if it is missing or outdated.
Tests that need more call `install_browser`, `install_editor` or `install_superset` (`make test` runs all of them beside
its first tests) or `install_faketime`. A process that wants what another one is installing waits for it.

Imports only Python's standard library and this package's settings: it runs before anything is installed.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack.debian_packages import install_packages, install_programs, missing_packages
from stack.install_step import alone, fingerprint, is_stamped, run
from stack.jars import archive_classes, install_all_jars, install_jars
from stack.settings import REPOSITORY, SPARK_CLASSES, SPARK_JARS, SUPERSET_LOCK, SUPERSET_VENV, VENV

LOCK = REPOSITORY / "requirements.lock"
AIRFLOW_LOCK = REPOSITORY / "deploy" / "airflow.lock"
SPARK = REPOSITORY / "jobs" / "spark"
EDITOR = REPOSITORY / "tests" / "editor"
# Chromium without windows: it renders the same pages with half the work.
BROWSER = "chromium-headless-shell"


def install() -> None:
    """Install what is missing; StackError names what could not be obtained."""
    install_packages(missing_packages())
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(install_all_jars), threads.submit(install_python)]:
            done.result()
    archive_classes("Spark", "stack.spark_start", SPARK_CLASSES, LOCK, VENV / "bin" / "python")


def install_spark_server() -> None:
    """Install what a Spark server's repository needs beyond Debian's packages; see deploy/spark_server.yml."""
    install_jars(SPARK / "pom.xml", SPARK_JARS)
    lock = SPARK / "requirements.lock"
    _install_environment("Python", VENV, lock)
    archive_classes("Spark", "stack.spark_start", SPARK_CLASSES, lock, VENV / "bin" / "python")


def install_lineage() -> None:
    """Install what Spark sends its lineage with, where somebody wants it."""
    install_jars(SPARK / "lineage" / "pom.xml", SPARK / "jars-lineage")


def install_airflow() -> None:
    """Install what a host with a process of production's Airflow needs; see deploy/airflow.yml."""
    _install_environment("Python", VENV, AIRFLOW_LOCK)


def install_for_tests() -> None:
    """Install what only the tests need: a browser, a language server for YAML as editors have it, and Superset."""
    install_programs(BROWSER, "npm")
    install_editor()
    install_superset()


def install_browser() -> str:
    """The path of the browser, installed if missing."""
    install_programs(BROWSER)
    return str(shutil.which(BROWSER))


def install_faketime() -> None:
    """What gives a process another clock."""
    install_programs("faketime")


def install_editor() -> None:
    """Make tests/editor/node_modules contain exactly what its package-lock.json lists."""
    install_programs("npm")
    lock, stamp = EDITOR / "package-lock.json", EDITOR / "node_modules" / ".stamp"
    wanted = fingerprint(lock)
    with alone(lock):
        if not is_stamped(stamp, wanted):
            words = ["--ignore-scripts", "--no-audit", "--no-fund"]
            run("YAML language server", ["npm", "ci", f"--prefix={EDITOR}", *words])
            stamp.write_text(wanted, encoding="ascii")


def install_superset() -> None:
    """Make .venv-superset contain exactly what dashboards/requirements.lock lists."""
    _install_environment("Superset", SUPERSET_VENV, SUPERSET_LOCK)


def install_python() -> None:
    """Make .venv contain exactly what requirements.lock lists."""
    _install_environment("Python", VENV, LOCK)


def _install_environment(what: str, folder: Path, lock: Path) -> None:
    stamp = folder / "requirements.stamp"
    wanted = fingerprint(lock, sys.version)
    with alone(lock):
        if is_stamped(stamp, wanted):
            return
        run(f"{what} environment {folder.name}", [sys.executable, "-m", "venv", "--clear", str(folder)])
        count = lock.read_text(encoding="utf-8").count("==")
        # Modules are compiled when they are first imported: most never are.
        pip = [str(folder / "bin" / "pip"), "install", "--no-compile", "--no-deps", "--require-hashes"]
        run(f"{what} packages", [*pip, "-r", str(lock)], "Collecting ", of=count)
        stamp.write_text(wanted, encoding="ascii")
