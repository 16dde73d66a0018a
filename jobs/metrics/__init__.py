"""What Prometheus learns about Kafka, the lake and PostgreSQL: numbers that none of them reports by itself."""
