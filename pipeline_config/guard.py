"""What somebody's file or code does wrong is one problem there, and never the end of the check or of the loader."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline_config.problem import Problem
from pipeline_config.reader import Document

MOST = 100  # problems of one kind in a file: nobody reads on, and each of them takes time
_HERE = f"{Path(__file__).parent}/"


def guarded(document: Document, find: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What `find` finds until it raises, MOST at the most; what it raises is one more problem of `document`."""
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


def in_words(error: BaseException, root: Path | None = None) -> str:
    """The kind of an exception and its message in one line, with the place in a file below `root` where it arose."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        place, text = f"{_below(error.filename, root)}:{error.lineno}: ", error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__) if root else []
        own = [frame for frame in frames if frame.filename.startswith(f"{root}/") and _HERE not in frame.filename]
        place = f"{_below(own[-1].filename, root)}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {text}" if text else f"{place}{type(error).__name__}"


def _below(file: str, root: Path | None) -> str:
    return file.removeprefix(f"{root}/") if root else file
