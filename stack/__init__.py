"""The embedded servers: Kafka, PostgreSQL, an SSH server for Spark, a Docker engine and Airflow; on this machine only.

`python -m stack up|down|status`; everything that they write is in one folder, `.stack/` (or `STACK_HOME`).
"""
