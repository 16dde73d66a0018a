"""The loader and the operators inside Airflow, without a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_config.project import ROOT

LOAD = """
import json, sys
sys.path.insert(0, ".")
import dag_factory_loader as loader
from airflow.sdk import DAG
dags = sorted(name for name, value in vars(loader).items() if isinstance(value, DAG))
result = {"dags": dags, "problems": loader.PROBLEMS, "raised": ""}
try:
    import dag_factory_errors
except Exception as error:
    result["raised"] = f"{type(error).__name__}: {error}"
print(json.dumps(result), file=sys.stderr)
"""
COMMAND = """
import sys
sys.path.insert(0, ".")
import dag_factory_loader as loader
task = loader.tripclick_streaming_curated.get_task("streaming_to_curated_stream")
class Values:
    def __getattr__(self, name):
        return "; rm -rf / $(id) 'quoted'\\nsecond line"
params = {"run_minutes": "5; reboot", "interval_seconds": 1, "until_caught_up": True}
text = task.get_template_env(task.dag).from_string(task.command).render(var={"value": Values()}, params=params)
print(text.replace("cd ", "set -- ", 1).replace("&& PYTHONPATH=. exec", ""), file=sys.stderr)
"""

EXPLAIN = """
import sys
sys.path.insert(0, ".")
from dag_factory_operators import DockerOperator
operator = DockerOperator(task_id="t", engine_conn_id="docker_server0", image="producer:1")
for words in sys.stdin.read().splitlines():
    print(operator._explain(Exception(words)), file=sys.stderr)
"""


def run(script: str, project: Path, text: str = "") -> str:
    """What a Python process with Airflow prints to standard error's last lines, run in `project`."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(project / ".airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project),
        "AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PIPELINE_ENVIRONMENT": "local",
    }
    command = [sys.executable, "-W", "ignore", "-c", script]
    result = subprocess.run(
        command, cwd=project, env=environment, input=text, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what Airflow reads."""
    for name in ("pipelines", "pipeline_config", "schemas", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("jars", "wheels", "__pycache__"))
    for path in ROOT.glob("dag_factory_*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_loader_builds_the_eight_and_a_broken_file_takes_only_its_own_dag_away(project: Path) -> None:
    names = sorted(path.stem for path in project.glob("pipelines/*/tripclick_*.yaml"))
    assert len(names) == 8
    loaded = json.loads(run(LOAD, project).splitlines()[-1])
    assert loaded == {"dags": names, "problems": [], "raised": ""}

    # Both would still make a DAG, or fail only in dag-factory: the check is what keeps them out.
    broken = project / "pipelines/mart/tripclick_load_postgres.yaml"
    broken.write_text(broken.read_text().replace("[S3_ANALYTICS_MART_PATH,", "[S3_ANALYTICS_MART_PATH, S3_PATHS,"))
    other = project / "pipelines/mart/tripclick_analytics_mart_etl.yaml"
    other.write_text(other.read_text().replace("operator: SSHOperator", "operator: SSHOperatr"))
    loaded = json.loads(run(LOAD, project).splitlines()[-1])
    assert loaded["dags"] == [name for name in names if name not in {broken.stem, other.stem}]
    assert f"{broken.relative_to(project)}:6:37: variable S3_PATHS is not in pipelines/catalog.yaml" in loaded["raised"]
    assert f"{other.relative_to(project)}:12:15: no operator is called 'SSHOperatr'" in loaded["raised"]


def test_every_argument_is_one_word_for_the_shell_whatever_is_typed_into_a_form(project: Path) -> None:
    script = run(COMMAND, project)
    words = subprocess.run(
        ["sh", "-c", script + '\nfor word; do printf "%s\\0" "$word"; done'], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    hostile = "; rm -rf / $(id) 'quoted'\nsecond line"
    assert words[0] == hostile
    assert f"--kafka-brokers={hostile}" in words
    assert "--run-minutes=5; reboot" in words


def test_what_docker_refuses_is_one_line_that_says_what_to_do(project: Path) -> None:
    hints = {
        "write /var/lib/docker/x: no space left on device": "docker system prune",
        "pull access denied for producer, repository does not exist": "docker build -f jobs/producer/Dockerfile",
        "bind source path does not exist: /logs": "make that folder on the engine's host",
        "Connection refused": "is the engine of connection docker_server0 right and running?",
    }
    lines = run(EXPLAIN, project, "\n".join(hints)).splitlines()[-len(hints) :]
    for line, (words, hint) in zip(lines, hints.items(), strict=True):
        assert line.startswith("error: Docker engine ")
        assert words in line
        assert hint in line
