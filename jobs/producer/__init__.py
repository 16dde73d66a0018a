"""Sends the log to Kafka: a range of days at once, or at the pace at which the clicks happened."""
