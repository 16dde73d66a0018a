"""An error in somebody's file or code becomes one problem there, and never ends the check or the loader."""

from __future__ import annotations

import re
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_config.problem import Problem
from pipeline_config.reader import Document

MOST = 100  # problems of one kind in a file: nobody reads on, and each of them takes time
# Code that no message should point to: ours, Python's and installed packages.
_OTHERS = tuple(f"{path}/" for path in (Path(__file__).parent, *map(sysconfig.get_path, ("stdlib", "purelib"))))


class TooLongError(BaseException):
    """Somebody's code takes too long; no Exception, which that code might catch."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooLongError in the code inside after so many seconds. In the main thread only, as signals are.

    A limit around it, such as Airflow's of an import, stays; if it ends sooner, there is only that one.
    """
    around, interval = signal.getitimer(signal.ITIMER_REAL)
    if threading.current_thread() is not threading.main_thread() or 0 < around <= seconds:
        yield
        return

    def stop(*_: object) -> None:
        raise TooLongError(f"it takes longer than {seconds:g} s")

    handler, started = signal.signal(signal.SIGALRM, stop), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if around:
            signal.setitimer(signal.ITIMER_REAL, max(around - (time.monotonic() - started), 0.001), interval)


def guarded(document: Document, find: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What `find` yields until it raises, at most MOST; the exception becomes one more problem of `document`."""
    found: list[Problem] = []
    try:
        for problem in find():
            if len(found) == MOST:
                found.append(document.problem((), f"more than {MOST} problems of one kind", "fix the others first"))
                break
            found.append(problem)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (a job's code may raise anything, SystemExit too)
        found.append(document.problem((), f"cannot be checked: {in_words(error)}", "the other files are checked"))
    return found


def in_words(error: BaseException, *, at_place: bool = False) -> str:
    """The kind of an exception and its message in one line, if asked with the place in a job's file where it arose."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f"{_below_root(error.filename)}:{error.lineno}: ", error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__) if at_place else []
        place = _last_place([(frame.filename, str(frame.lineno)) for frame in frames])
    return f"{place}{type(error).__name__}: {text}" if text else f"{place}{type(error).__name__}"


def reported(report: str, crash: str) -> str:
    """The name of a crash, after the place in a job's file where faulthandler reports it."""
    frames = re.findall(r'^  File "(.+)", line (\d+)', report, re.MULTILINE)
    return f"{_last_place(frames[::-1])}{crash}"


def _last_place(frames: list[tuple[str, str]]) -> str:
    own = [(file, line) for file, line in frames if not file.startswith((*_OTHERS, "<"))]
    return f"{_below_root(own[-1][0])}:{own[-1][1]}: " if own else ""


def _below_root(file: str) -> str:
    """The path of a module's file as its name has it: below the folder in which Python found it."""
    folders = [folder for folder in sys.path if folder and file.startswith(f"{folder}/")]
    return file.removeprefix(f"{max(folders, key=len)}/") if folders else file
