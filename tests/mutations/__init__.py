"""Broken copies of the nine pipelines, and what the check makes of them: `python -m tests.mutations`."""
