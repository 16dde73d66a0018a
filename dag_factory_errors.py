"""Holds no DAG: raises what dag_factory_loader.py found, so that Airflow shows it as an import error."""

from __future__ import annotations

# Before it forks for each look at a file, Airflow's DAG processor imports what the file names of Airflow, and keeps it:
# else each look would import these again, which is most of its time. No task reads this file.
import airflow.providers.common.sql.sensors.sql
import airflow.providers.docker.operators.docker
import airflow.providers.ssh.operators.ssh  # noqa: F401

from dag_factory_loader import PROBLEMS


class PipelineErrors(Exception):  # noqa: N818 (the name is what people read in the dialog)
    """Every problem of the YAML files, a line each."""

    __module__ = "builtins"  # Airflow's own long name of this module would stand before the first line


if PROBLEMS:
    raise PipelineErrors("\n" + "\n".join(PROBLEMS))
