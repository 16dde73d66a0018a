"""Holds no DAG: raises what dag_factory_loader.py found, so that Airflow shows it as an import error."""

# Airflow's DAG processor imports the Airflow modules that a file names before it forks the process that parses it.
# Without these lines each parse would import them again, which takes most of its time. Tasks do not read this file.
from __future__ import annotations

import airflow.providers.common.sql.sensors.sql
import airflow.providers.docker.operators.docker
import airflow.providers.ssh.operators.ssh
import airflow.sdk  # noqa: F401

from dag_factory_loader import PROBLEMS
from pipeline_config.loader import raise_problems

raise_problems(PROBLEMS)
