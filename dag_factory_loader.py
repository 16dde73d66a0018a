"""The file that Airflow parses: pipelines/**/*.yaml → check → compile → dag-factory → DAGs (pipeline_config/loader.py).

It never raises. What is wrong stands in PROBLEMS, which dag_factory_errors.py raises beside the DAGs that are right.
"""

from __future__ import annotations

from pipeline_config.loader import load

DAGS, PROBLEMS = load(__file__)
globals().update(DAGS)
