"""Fixtures of the framework's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow_project import copy


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what Airflow reads."""
    return copy(tmp_path)
