"""What the DAGs run. Imports no Airflow."""
