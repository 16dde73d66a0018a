"""How a job runs as a program: what its command line declares, its start, and its end by an error or a signal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal, NamedTuple

from jobs.errors import TERMINATED, JobError, Terminated
from jobs.known_errors import infrastructure_error

ENDS_WITH_STDIN = (
    "PIPELINE_ENDS_WITH_STDIN"  # set: whoever started the job holds its stdin, and has died when it closes
)


class Data(NamedTuple):
    """What a job reads or writes. `{option}` in the name stands for that option's value."""

    kind: Literal["log", "topic", "lake", "postgresql"]
    name: str


def flow(parser: argparse.ArgumentParser, *, reads: Iterable[Data], writes: Iterable[Data]) -> None:
    """Declare all that a job reads and writes for others, beside its options; its own bookkeeping is left out.

    It is plain data, as pipeline_config/job_contract.py describes it.
    """
    parser.set_defaults(flow={"reads": tuple(reads), "writes": tuple(writes)})


def main(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None
) -> int:
    """Parse, run, and return the exit code: 0, that of a JobError or a known error, 143 after SIGTERM.

    Other exceptions propagate. With ENDS_WITH_STDIN in the environment, the end of stdin counts as SIGTERM.
    """
    options = parser.parse_args(argv)
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminate)
        if os.environ.get(ENDS_WITH_STDIN):
            threading.Thread(target=_watch_stdin, daemon=True).start()
        run(options)
    except Exception as error:
        known = error if isinstance(error, JobError) else infrastructure_error(error)
        if known is None:
            raise
        print(f"error: {' '.join(str(known).split())}", file=sys.stderr, flush=True)  # noqa: T201
        return known.exit_code
    except Terminated:
        print("error: terminated by a signal before it had finished", file=sys.stderr, flush=True)  # noqa: T201
        return TERMINATED
    return 0


class _Deferral:
    """Whether signals are deferred, and whether one is pending."""

    on = pending = False


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer signals: one that arrives meanwhile ends the job afterwards. Not to be nested."""
    _Deferral.on = True
    try:
        yield
    finally:
        _Deferral.on = False
        if _Deferral.pending:
            _Deferral.pending = False
            raise Terminated


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signal module's signature)
    if _Deferral.on:
        _Deferral.pending = True
    else:
        raise Terminated


def _watch_stdin() -> None:
    with suppress(OSError):  # of a terminal that has gone away
        while os.read(0, 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
