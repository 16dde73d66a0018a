"""Synthetic TripClick logs: the shape of the real ones, and not one real row. Deterministic by seed and day."""
