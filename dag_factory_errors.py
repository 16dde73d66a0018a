"""Holds no DAG: raises what dag_factory_loader.py found, so that Airflow shows it as an import error."""

from __future__ import annotations

from dag_factory_loader import PROBLEMS


class PipelineErrors(Exception):  # noqa: N818 (the name is what people read in the dialog)
    """Every problem of the YAML files, a line each."""

    __module__ = "builtins"  # Airflow's own long name of this module would stand before the first line


if PROBLEMS:
    raise PipelineErrors("\n" + "\n".join(PROBLEMS))
