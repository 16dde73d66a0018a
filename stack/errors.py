"""The one exception of this package."""


class StackError(Exception):
    """Something that a person has to know or to do; the message says what, and how."""
