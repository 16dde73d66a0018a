"""Fixtures of all tests."""

pytest_plugins = ["tests.spark_fixtures"]
