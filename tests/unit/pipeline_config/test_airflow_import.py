"""Files for Airflow's import of variables, connections and pools."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline_config.__main__ import main
from pipeline_config.project import load_project


def test_import_airflow_writes_addresses_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_KAFKA_PORT", "12345")
    assert main(["import-airflow", "--environment", "local", "--output", str(tmp_path)]) == 0
    variables = json.loads((tmp_path / "variables.json").read_text())
    connections = json.loads((tmp_path / "connections.json").read_text())
    catalog = load_project().catalog
    assert variables["KAFKA_BROKERS"] == "127.0.0.1:12345"
    assert variables.keys() == catalog.variables.keys()
    assert connections.keys() == catalog.connections.keys()
    assert connections["postgres_gold"]["conn_type"] == "postgres"
    assert isinstance(connections["postgres_gold"]["port"], int)
    assert not any("password" in connection for connection in connections.values())


@pytest.mark.parametrize(("owner", "mode"), [(os.geteuid(), 0o1777), (65534, 0o755)], ids=["of all", "of another"])
def test_import_airflow_writes_where_nobody_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], owner: int, mode: int
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder, owner, -1)
    elif owner != os.geteuid():
        pytest.skip("only root can make a folder of somebody else")
    assert main(["import-airflow", "--environment", "local", "--output", str(folder)]) == 2
    assert f"{folder}: others can write to this folder" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_import_airflow_wants_files_that_are_right_and_every_value(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["import-airflow", "--root", str(broken), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "the check finds " in capsys.readouterr().err
    pipeline = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    pipeline.write_text(pipeline.read_text().replace("schedul: null", "schedule: null"))
    environment = broken / "pipelines/environments/production.yaml"
    environment.write_text(environment.read_text().replace("/data/tripclick/logs", "/data/${LOG_USER}/logs"))
    monkeypatch.delenv("LOG_USER", raising=False)
    assert main(command) == 2
    assert "LOG_USER: production.yaml reads it and has no default" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("LOG_USER", "web")
    assert main(command) == 0
    assert main(command) == 0
    (tmp_path / "out" / "pools.json").write_text("{}", encoding="utf-8")
    assert main(command) == 2
    assert "pools.json: already exists with other contents; remove it first" in capsys.readouterr().err
    assert (tmp_path / "out" / "pools.json").read_text(encoding="utf-8") == "{}"
