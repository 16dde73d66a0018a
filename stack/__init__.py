"""The embedded servers: Kafka, PostgreSQL, an SSH server for Spark, a Docker engine and Airflow, on 127.0.0.1 only.

`python -m stack up|down|status`; everything that they write lives in one folder, `.stack/` (or `STACK_HOME`).
"""
