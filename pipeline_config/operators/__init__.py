"""Airflow's operators, extended by what our DAGs need, and their alerts.

Addresses and secrets come from connections when the task runs, never from a rendered field.
"""
