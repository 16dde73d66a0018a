"""Fixtures of all tests."""

pytest_plugins = ["tests.server_fixtures", "tests.spark_fixtures", "tests.airflow_process"]
