"""TripClick's retrieval benchmark from the log: topics, relevance judgements and splits, by the published method."""
