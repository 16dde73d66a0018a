"""The one exception of this package."""

from __future__ import annotations


class StackError(Exception):
    """Something that a person has to know or do; the message says what, and how."""
