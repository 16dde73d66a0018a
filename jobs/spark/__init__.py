"""The Spark jobs: Kafka → lake → marts. Each entry script has parser() and run(); its imports stay light."""
