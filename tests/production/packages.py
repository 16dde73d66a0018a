"""The packages of production's Airflow, by deploy/airflow.lock, in a folder that only this Airflow has on its path."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from stack.install_step import alone, fingerprint, is_stamped, run
from stack.installer import AIRFLOW_LOCK
from stack.settings import REPOSITORY

FOLDER = REPOSITORY / ".venv-production"


def install_packages() -> Path:
    """Make the folder contain exactly what the lock file lists; returns it."""
    stamp, wanted = FOLDER / "requirements.stamp", fingerprint(AIRFLOW_LOCK, sys.version)
    with alone(AIRFLOW_LOCK):
        if not is_stamped(stamp, wanted):
            shutil.rmtree(FOLDER, ignore_errors=True)
            options = ["--no-compile", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
            pip = [sys.executable, "-m", "pip", "install", *options, f"--target={FOLDER}", "-r", str(AIRFLOW_LOCK)]
            run("Packages of production's Airflow", pip, "Collecting ", of=AIRFLOW_LOCK.read_text().count("=="))
            stamp.write_text(wanted, encoding="ascii")
    return FOLDER
