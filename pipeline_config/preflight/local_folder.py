"""A folder that a task of this machine reads, as where there is no Docker engine."""

from __future__ import annotations

import os
from functools import partial

from pipeline_config.connection_types import is_remote_shell
from pipeline_config.preflight.probe import Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.uses import Asked, Use
from pipeline_config.problem import plural


def ask(asked: Asked) -> list[Probe]:
    """One of the folder, if a local process is given it."""
    used = any(asked.name in use.variables and _is_local(use) for use in asked.uses)
    return [Probe(asked.name, partial(_readable, asked.settings, asked.name), "")] if used else []


def _is_local(use: Use) -> bool:
    return not is_remote_shell(use.operator.connection_type) and "image" not in use.operator.arguments


def _readable(settings: Settings, variable: str) -> str:
    folder = settings.variable(variable)
    try:
        return f"{folder}, {plural(len(os.listdir(folder)), 'file')}"  # noqa: PTH208 (a list says at once what a Path says late)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}", f"create it on this machine, or correct {variable}") from None
