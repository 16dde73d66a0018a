"""Airflow's operators, with what our DAGs need of them, and who is told of what.

Addresses and secrets come from connections when the task runs, never from a rendered field.
"""
