"""Holds no DAG: raises what dag_factory_loader.py found, so that Airflow shows it as an import error."""

# Before it forks for each look at a file, Airflow's DAG processor imports what the file names of Airflow, and keeps it:
# else each look would import these again, which is most of its time. No task reads this file.
from __future__ import annotations

import airflow.providers.common.sql.sensors.sql
import airflow.providers.docker.operators.docker
import airflow.providers.ssh.operators.ssh
import airflow.sdk  # noqa: F401

from dag_factory_loader import PROBLEMS
from pipeline_config.loader import raise_problems

raise_problems(PROBLEMS)
