"""What Prometheus is told of Kafka, the lake and PostgreSQL: the numbers that none of them gives by itself."""
