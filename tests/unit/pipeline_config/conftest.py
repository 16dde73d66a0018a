"""Fixtures of the framework's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_config.project import ROOT
from tests.airflow_project import copy


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what Airflow reads."""
    return copy(tmp_path)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the pipelines with one misspelt key."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    path = tmp_path / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedule: null", "schedul: null"))
    return tmp_path


@pytest.fixture
def ninth(tmp_path: Path) -> Path:
    """The nine pipelines with the valid case that uses the rest of the dialect."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    shutil.copytree(ROOT / "tests/pipelines/valid/ninth", tmp_path / "pipelines", dirs_exist_ok=True)
    return tmp_path
