"""Airflow's DAGs, one for each file of pipelines/."""

from pipeline_config.loader import load

globals().update(load(__file__).dags)
