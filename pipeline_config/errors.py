"""What a command says when it cannot do what it was asked for; problems of YAML files are Problems instead."""

from __future__ import annotations


class CommandError(Exception):
    """One line for the person who typed the command: what is wrong, and what there is instead."""


class UnknownEnvironmentError(CommandError):
    """No file in pipelines/environments has that name."""


class RenderError(Exception):
    """A template that can be read and cannot be rendered: why."""


class UnknownError(RenderError):
    """A template whose value only a run knows: the name of what it needs."""
