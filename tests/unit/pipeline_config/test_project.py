"""The environments of a project."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pipeline_config.__main__ import main
from pipeline_config.errors import UnknownEnvironmentError
from pipeline_config.project import load_project


def test_a_missing_environment_that_airflow_uses_is_an_error(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", "schedule: null"))
    (broken / "pipelines/environments/production.yaml").unlink()
    assert main(["check", "--root", str(broken)]) == 1
    missing = (
        "production.yaml:1:1: the environment that Airflow uses does not exist (set PIPELINE_ENVIRONMENT to one of: "
    )
    assert capsys.readouterr().out == f"pipelines/environments/{missing}local, local_without_docker)\n"
    assert main(["render", "tripclick_load_postgres", "--root", str(broken)]) == 2
    assert missing in capsys.readouterr().err
    monkeypatch.setenv("PIPELINE_ENVIRONMENT", "local")
    assert main(["check", "--root", str(broken)]) == 0
    capsys.readouterr()
    shutil.rmtree(broken / "pipelines/environments")
    assert main(["check", "--root", str(broken)]) == 1
    assert (
        "local.yaml:1:1: the environment that Airflow uses does not exist (write this file)" in capsys.readouterr().out
    )


def test_unknown_environment_names_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-airflow", "--environment", "prod", "--output", str(tmp_path)]) == 2
    assert "there is: local, local_without_docker, production" in capsys.readouterr().err
    with pytest.raises(UnknownEnvironmentError):
        load_project().environment("prod")


def test_a_missing_value_in_an_environment_is_found(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/environments/production.yaml"
    path.write_text(re.sub("  KAFKA_BROKERS: .*\n", "", path.read_text()))
    assert main(["check", "--root", str(broken), "--format", "text", str(path)]) == 1
    assert "variable KAFKA_BROKERS has no value here (for example kafka1:9092,kafka2:9092)" in capsys.readouterr().out
