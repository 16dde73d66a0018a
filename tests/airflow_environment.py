"""The settings of an Airflow without servers, for tests that load DAGs in a process."""

from __future__ import annotations

from pathlib import Path


def airflow_environment(home: Path, dags: Path, pipeline_environment: str) -> dict[str, str]:
    """Environment variables: its own home, a folder of DAGs, quiet, and the environment that the loader takes."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PIPELINE_ENVIRONMENT": pipeline_environment,
    }
