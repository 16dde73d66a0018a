"""Broken copies of the eight pipelines, and what the check makes of them: `python -m tests.mutations`."""
