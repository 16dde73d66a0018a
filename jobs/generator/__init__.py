"""Synthetic TripClick logs: the shape of the real ones, without a real row. Deterministic by seed and day."""
