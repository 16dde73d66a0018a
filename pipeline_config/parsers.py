"""Uses the jobs' own argument parsers (see job_contract.py): their options, and what they say about a command line."""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import importlib.util
import io
import os
import re
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

from pipeline_config.argparse_parts import action_of, actions, modes
from pipeline_config.guard import in_words, reported, time_limit
from pipeline_config.job_contract import flow_of
from pipeline_config.model import JOB
from pipeline_config.schema import Schema

_HAS_PARSER = re.compile(r"^def parser\(", re.MULTILINE)
MAX_SECONDS = 10  # for a job's import, or one of its functions: Airflow gives all of them together 30
_MANY = 10**9  # an option that takes so much has no upper limit
_in_child_first = ContextVar("_in_child_first", default=False)


class RefusedError(Exception):
    """What argparse would have printed before it ended the process."""


class NoParserError(Exception):
    """The module is not a job: it has no parser."""


@cache
def job_parser(module: str) -> argparse.ArgumentParser | str:
    """A job's own parser, or why there is none."""
    path = module.replace(".", "/")
    if _in_child_first.get() and (crash := _crash_of(lambda: _parser_of(module))):
        return f"{path} crashes Python when it is imported: {crash}"
    try:
        with _contained():
            if importlib.util.find_spec(module) is None:
                return f"there is no {path}.py"
            parser = _parser_of(module)
    except KeyboardInterrupt:
        raise
    except NoParserError:
        return f"{path} is not a job: it has no function parser()"
    except SystemExit:
        return f'{path} ends the process when it is imported: is `if __name__ == "__main__":` missing?'
    except BaseException as error:  # noqa: BLE001 (a job may be broken in any way; the person reads how)
        return f"{path} cannot return its options: {in_words(error, at_place=True)}"
    return parser


def _parser_of(module: str) -> argparse.ArgumentParser:
    job = importlib.import_module(_main_of(module))
    if not hasattr(job, "parser"):
        raise NoParserError
    parser: argparse.ArgumentParser = job.parser()
    for own in (parser, *modes(parser).values()):
        flow_of(own)  # what it declares can be read, too
    return parser


@contextmanager
def in_child_first() -> Iterator[None]:
    """In this context each job is imported in a child process first, since one of them may crash."""
    token = _in_child_first.set(True)
    try:
        yield
    finally:
        _in_child_first.reset(token)


def _crash_of(run: Callable[[], object]) -> str:
    """The signal by which `run` ends a child process, after the place in a job's file where; "" if it does not."""
    with TemporaryFile() as report:
        child = os.fork()
        if not child:
            faulthandler.enable(report)
            with suppress(BaseException), _contained():
                run()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            return ""
        report.seek(0)
        return reported(report.read().decode(errors="replace"), signal.Signals(os.WTERMSIG(status)).name)


def _main_of(module: str) -> str:
    """A package's program is its __main__; a module is its own."""
    try:
        return f"{module}.__main__" if importlib.util.find_spec(f"{module}.__main__") else module
    except ModuleNotFoundError:
        return module


@contextmanager
def _contained() -> Iterator[None]:
    """Suppress what a job's code prints, such as its usage, end it after MAX_SECONDS, and survive its os._exit."""
    with io.StringIO() as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        with time_limit(MAX_SECONDS), _exit_raises():
            yield


@contextmanager
def _exit_raises() -> Iterator[None]:
    """In this context os._exit raises SystemExit as sys.exit does, but in a child process."""
    own, leave = os.getpid(), os._exit

    def exit_or_raise(status: int) -> NoReturn:
        if os.getpid() != own:
            leave(status)
        raise SystemExit(status)

    os._exit = exit_or_raise
    try:
        yield
    finally:
        os._exit = leave


def own_parser(parser: argparse.ArgumentParser, job: str) -> argparse.ArgumentParser | None:
    """The parser of a job's options: of a parser with modes, that of the mode that `job` names."""
    by_name = modes(parser)
    return by_name.get(job) if by_name else parser


def jobs(module: str) -> dict[str, argparse.ArgumentParser]:
    """The jobs of a command template's `module`, by name: each module there with a parser, or its modes."""
    if JOB not in module:
        parser = job_parser(module)
        return {} if isinstance(parser, str) else modes(parser)
    try:
        with _contained():
            package = importlib.import_module(module.partition(f".{JOB}")[0])
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 (somebody's code; each task that names a job of it is told why)
        return {}
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    files = sorted(path for folder in folders for path in folder.glob("*.py"))
    files = [path for path in files if path.is_file()]  # a pipe would be waited for
    named = [path.stem for path in files if _HAS_PARSER.search(path.read_text(encoding="utf-8", errors="replace"))]
    parsers = {name: job_parser(module.replace(JOB, name)) for name in named}
    own = {name: own_parser(parser, name) for name, parser in parsers.items() if not isinstance(parser, str)}
    return {name: parser for name, parser in own.items() if parser}


def parse(parser: argparse.ArgumentParser, words: list[str], unknown: Collection[str] = ()) -> None:
    """Parse without the process ending; raises RefusedError with argparse's message, or with what a `type=` raised.

    The options `unknown` are given, and their values are not looked at.
    """

    def refuse(_: Any, message: str) -> None:
        raise RefusedError(message)

    original = argparse.ArgumentParser.error
    argparse.ArgumentParser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        with _contained(), _taking_anything(parser, {f"--{name}" for name in unknown}):
            parser.parse_args(words)
    except (RefusedError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RefusedError(in_words(error, at_place=True)) from error
    finally:
        argparse.ArgumentParser.error = original  # type: ignore[method-assign]


@contextmanager
def _taking_anything(parser: argparse.ArgumentParser, options: set[str]) -> Iterator[None]:
    """In this context, these options of a parser and its modes accept any value."""
    every = [action for one in (parser, *modes(parser).values()) for action in actions(one)]
    changed = [action for action in every if options.intersection(action.option_strings)]
    before = [(action.type, action.choices) for action in changed]
    try:
        for action in changed:
            action.type, action.choices = None, None
        yield
    finally:
        for action, (kind, choices) in zip(changed, before, strict=True):
            action.type, action.choices = kind, choices


def refusal(parser: argparse.ArgumentParser, option: str, text: str) -> str:
    """Why an option of a parser refuses a value; "" if it accepts it."""
    action = action_of(parser, option)
    kind = action.type if callable(action.type) else str
    try:
        with _contained():
            value = kind(text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (a job's own code)
        return str(error) or type(error).__name__
    return (
        f"it is none of {', '.join(map(str, action.choices))}" if action.choices and value not in action.choices else ""
    )


def values(parser: argparse.ArgumentParser, option: str) -> Schema:
    """An option's values as a JSON Schema: `type`, with `format`, `enum` or limits, found by calling its `type=`."""

    def takes(value: float | str) -> bool:
        return not refusal(parser, option, str(value))

    action = action_of(parser, option)
    if action.choices:
        return {"type": "string", "enum": [str(choice) for choice in action.choices]}
    if takes("true"):
        return {"type": "string"} if takes("text") else {"type": "boolean"}
    if not takes(1):
        return {"type": "string", "format": "date"} if takes("2020-10-31") else {"type": "string"}
    whole = not any(map(takes, (0.001, 0.5, 1.5)))
    return {"type": "integer" if whole else "number", **_lowest(takes), **_highest(takes, whole=whole)}


def _lowest(takes: Callable[[float], bool]) -> Schema:
    """The lower limit of an option that accepts 1."""
    if takes(-1):
        return {}
    if takes(0):
        return {"minimum": 0}
    return {"exclusiveMinimum": 0} if takes(0.001) else {"minimum": 1}


def _highest(takes: Callable[[float], bool], *, whole: bool) -> Schema:
    """The upper limit of an option that accepts 1, if it is an integer."""
    taken, refused = 1, _MANY
    if takes(refused):
        return {}
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if takes(middle) else (taken, middle)
    return {"maximum": taken} if whole or not takes(taken + 0.001) else {"exclusiveMaximum": refused}
