"""What argparse has no public name for: a parser's options, its modes, and an option's help."""

from __future__ import annotations

import argparse


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All options of a parser."""
    return parser._actions


def options(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a parser without their dashes."""
    names = [text[2:] for action in parser._actions for text in action.option_strings if text.startswith("--")]
    return [name for name in names if name != "help"]


def action_of(parser: argparse.ArgumentParser, option: str) -> argparse.Action:
    """The option of this name, without its dashes."""
    return next(action for action in parser._actions if f"--{option}" in action.option_strings)


def modes(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a job's modes (`jobs.producer batch …`) by name; empty if it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def help_of(parser: argparse.ArgumentParser, option: str) -> str:
    """The option's help with its default and the like filled in; as it is where a percent sign is meant as one."""
    action = action_of(parser, option)
    try:
        return parser._get_formatter()._expand_help(action) if action.help else ""
    except (KeyError, TypeError, ValueError):
        return str(action.help)
