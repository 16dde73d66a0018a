"""Fixtures of all tests."""

from __future__ import annotations

pytest_plugins = ["tests.server_fixtures", "tests.spark_fixtures", "tests.airflow_process"]
