"""Asks the jobs' own argument parsers: their options, and what they say of a command line. Runs no job."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from functools import cache
from typing import Any


class RefusedError(Exception):
    """What argparse would have printed before it ended the process."""


@cache
def job_parser(module: str) -> argparse.ArgumentParser | str:
    """A job's own parser, or why there is none."""
    path = module.replace(".", "/")
    try:
        if importlib.util.find_spec(module) is None:
            return f"there is no {path}.py"
        name = f"{module}.__main__" if importlib.util.find_spec(f"{module}.__main__") else module
    except ModuleNotFoundError:
        name = module  # a module, not a package: it has no __main__
    try:
        parser: argparse.ArgumentParser = importlib.import_module(name).parser()
    except Exception as error:  # noqa: BLE001 (a job may be broken in any way; the person reads how)
        return f"{path} cannot be asked for its options: {type(error).__name__}: {error}"
    return parser


def modes(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a job's modes (`jobs.producer batch …`) by name; empty when it has none."""
    for action in parser._actions:  # argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def own_parser(parser: argparse.ArgumentParser, job: str) -> argparse.ArgumentParser | None:
    """The parser of a job's options: of a parser with modes, that of the mode that `job` names."""
    by_name = modes(parser)
    return by_name.get(job) if by_name else parser


def options(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a parser without their dashes."""
    names = [text[2:] for action in parser._actions for text in action.option_strings if text.startswith("--")]
    return [name for name in names if name != "help"]


def parse(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Parse without the process ending; raises RefusedError with argparse's own words."""

    def refuse(_: Any, message: str) -> None:
        raise RefusedError(message)

    original = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        parser.parse_args(words)
    finally:
        argparse.ArgumentParser.error = original  # type: ignore[method-assign]
