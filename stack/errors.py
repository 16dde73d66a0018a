"""How a command of the stack fails: one family of errors."""

from __future__ import annotations


class StackError(Exception):
    """Something that a person has to know or do; the message says what, and how."""


class NoImageError(StackError):
    """This machine cannot get what the image is built from."""
