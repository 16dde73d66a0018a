"""What the bakery adds to Airflow and to preflight."""
