"""Reads, checks and compiles the YAML of `pipelines/`; imports no Airflow, so that a check is fast."""
