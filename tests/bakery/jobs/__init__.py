"""What the bakery's DAGs run."""
