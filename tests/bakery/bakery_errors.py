"""What is wrong with the others, as an import error of Airflow's; no DAG."""

from pipeline_config.loader import load, raise_problems

raise_problems(load(__file__).problems)
