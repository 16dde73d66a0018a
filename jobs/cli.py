"""What the command lines of all jobs share: argument types, what a job reads and writes, progress lines, its end."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
USAGE = 2  # argparse's, of a command line that it does not take
NON_RETRYABLE = 65  # sysexits.h: the input is wrong
ENDS_WITH_STDIN = "TRIPCLICK_ENDS_WITH_STDIN"  # set: whoever started the job holds its stdin, and is gone when it ends


class JobError(Exception):
    """What is wrong and what to do, in one line that a person reads in a task's log. Another try may go well."""

    exit_code = 1


class NonRetryableError(JobError):
    """What no other try fixes: somebody has to look. Our operators then fail the task without its retries."""

    exit_code = NON_RETRYABLE


@dataclass(frozen=True)
class Known:
    """An error by the words of whoever says it, and what a job says instead."""

    sign: str
    message: str
    kind: type[JobError] = JobError


# What any job may meet on its host and its servers: the system, a JVM, PostgreSQL, S3.
OUTSIDE = (
    Known(
        "No space left on device",
        "a disk is full, this host's or PostgreSQL's: make room and run it again, what is written stays right",
    ),
    Known(
        "could not write init file",
        "PostgreSQL's disk is full: make room and run it again, what is written stays right",
    ),
    Known("server closed the connection unexpectedly", "PostgreSQL went away: run it again when it answers"),
    Known(
        "terminating connection due to unexpected postmaster exit", "PostgreSQL went away: run it again when it answers"
    ),
    Known(
        "terminating connection due to administrator command", "PostgreSQL was stopped: run it again when it answers"
    ),
    Known("the database system is ", "PostgreSQL starts or ends just now: run it again when it answers"),
    Known(
        "InvalidAccessKeyId",
        "S3 does not know the access key: correct the login of the connection aws_s3",
        NonRetryableError,
    ),
    Known(
        "SignatureDoesNotMatch",
        "S3 refuses the secret key: correct the password of the connection aws_s3",
        NonRetryableError,
    ),
    Known(
        "NoAuthWithAWSException",
        "there is no key for S3: give the connection aws_s3 login and password, or the Spark server a role",
        NonRetryableError,
    ),
    Known("NoSuchBucket", "there is no such bucket: make it, or correct the variable of the path", NonRetryableError),
    Known("AWSApiCallTimeoutException", "S3 does not answer: run it again when it does"),
    Known(
        "another job has made this version",
        "another job has written the same table at the same time: run it again, nothing counts twice",
    ),
    # A request without a body has an answer without a reason.
    Known(
        "Service: S3, Status Code: 403",
        "S3 refuses it: correct the key in the connection aws_s3, or give it, or the Spark server's role, the right to "
        "list, read, write and delete there",
        NonRetryableError,
    ),
)


class Terminated(BaseException):
    """SIGTERM, or SIGHUP when the terminal of an SSH task goes away. No `except Exception` swallows it."""


@dataclass(frozen=True, order=True)
class Data:
    """What a job reads or writes. `{option}` in the name stands for the value of that option of its command line."""

    kind: Literal["log", "topic", "lake", "postgresql", "asset"]
    name: str


@dataclass(frozen=True)
class Flow:
    """All that a job reads and writes for others; its checkpoints and bookkeeping are its own affair."""

    reads: tuple[Data, ...]
    writes: tuple[Data, ...]


def flow(parser: argparse.ArgumentParser, *, reads: Iterable[Data], writes: Iterable[Data]) -> None:
    """Declare it beside the options; `parser.get_default("flow")` returns the Flow."""
    parser.set_defaults(flow=Flow(tuple(reads), tuple(writes)))


def main(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None
) -> int:
    """Parse, run, and return the exit code: 0, that of a JobError or of what is OUTSIDE, 143 after SIGTERM.

    Other exceptions pass. With ENDS_WITH_STDIN in the environment the end of stdin is a SIGTERM.
    """
    options = parser.parse_args(argv)
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminate)
        if os.environ.get(ENDS_WITH_STDIN):
            threading.Thread(target=_watch_stdin, daemon=True).start()
        run(options)
    except Exception as error:
        known = error if isinstance(error, JobError) else outside(error)
        if known is None:
            raise
        print(f"error: {' '.join(str(known).split())}", file=sys.stderr, flush=True)  # noqa: T201
        return known.exit_code
    except Terminated:
        print("error: ended by a signal before it was done", file=sys.stderr, flush=True)  # noqa: T201
        return TERMINATED
    return 0


class _Hold:
    """Whether a signal must wait, and whether one does."""

    on = pending = False


@contextmanager
def undivided() -> Iterator[None]:
    """What is inside happens whole: a signal that comes meanwhile ends the job after it. Not to be nested."""
    _Hold.on = True
    try:
        yield
    finally:
        _Hold.on = False
        if _Hold.pending:
            _Hold.pending = False
            raise Terminated


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signal module's signature)
    if _Hold.on:
        _Hold.pending = True
    else:
        raise Terminated


def _watch_stdin() -> None:
    with suppress(OSError):  # of a terminal that is gone
        while os.read(0, 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def outside(error: Exception) -> JobError | None:
    """What to raise instead of an exception that comes from outside; None of another one."""
    return recognised(error, OUTSIDE)


def recognised(error: Exception, among: Iterable[Known]) -> JobError | None:
    """The JobError of the first one whose sign is in what the error says."""
    said = _said(error)
    return next((known.kind(known.message) for known in among if known.sign in said), None)


def _said(error: Any) -> str:
    """The words of an error, with the class and the words of each Java exception behind it.

    Without Java's stack, which names classes that had no part in it.
    """
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    lines = [str(error).partition("\n\tat ")[0], *java_causes(java)]
    converted = getattr(error, "_cause", None)  # of one that PySpark has no class for
    return "\n".join([*lines, _said(converted)] if converted else lines)


def java_causes(exception: Any) -> Iterator[str]:
    """The class and the words of a Java exception, and of each one that caused it."""
    while exception is not None:
        yield str(exception.toString())
        exception = exception.getCause()


def say(message: str) -> None:
    """One progress line, with the UTC time."""
    print(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {message}", flush=True)  # noqa: T201


def day(text: str) -> dt.date:
    """YYYY-MM-DD."""
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day, write it as 2020-10-31") from None


def day_or_none(text: str) -> dt.date | None:
    """YYYY-MM-DD, or None of an empty text."""
    return day(text) if text else None


def positive_int(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole_number(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _number(text: str) -> float:
    """NaN, which is in no range, when it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def true_or_false(text: str) -> bool:
    """`true` or `false`, as a template renders them in whatever case."""
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
