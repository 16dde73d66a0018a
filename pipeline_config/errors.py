"""Errors of commands that cannot do what was asked; problems in YAML files are Problems instead."""

from __future__ import annotations


class CommandError(Exception):
    """One line for the person who typed the command: what is wrong, and what is available instead."""


class UnknownEnvironmentError(CommandError):
    """No file in pipelines/environments has that name."""


class RenderError(Exception):
    """Why a readable template cannot be rendered."""


class RunValueError(RenderError):
    """A template whose value only a run knows; holds the name of what it needs."""
