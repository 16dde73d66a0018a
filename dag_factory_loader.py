"""The file that Airflow parses: pipelines/**/*.yaml → check → compile → dag-factory → DAGs (pipeline_config/loader.py).

It never raises, since that would remove every DAG. dag_factory_errors.py raises what is in PROBLEMS.
"""

from __future__ import annotations

from pipeline_config.loader import load

DAGS, PROBLEMS = load(__file__)
globals().update(DAGS)
