"""What Airflow reads, in a folder of a test, and programs that run there."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline_config.project import ROOT
from tests.airflow_process import AirflowProcess


def run(
    airflow: AirflowProcess, script: str, project: Path, text: str = "", pipeline_environment: str = "local"
) -> str:
    """What a Python process with Airflow prints to standard error's last lines, run in `project`."""
    done = airflow.run(script, project, text=text, env={"PIPELINE_ENVIRONMENT": pipeline_environment})
    assert done.returncode == 0, done.stderr
    return done.stderr


def copy(folder: Path) -> Path:
    """What Airflow reads, in `folder`."""
    for name in ("pipelines", "pipeline_config", "schemas", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("jars", "wheels", "__pycache__"))
    for path in ROOT.glob("dag_factory_*.py"):
        shutil.copy(path, folder)
    return folder
