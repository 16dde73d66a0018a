"""One step of an installation: its output, its lock, and whether it has been done."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.errors import StackError
from stack.settings import REPOSITORY

LAST_LINES = 20


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock of this file: a second process that wants it waits."""
    with file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    what: str,
    command: Sequence[str],
    counted: str | tuple[str, ...] = "",
    *,
    of: int = 0,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command and show how many lines that start with `counted` it has printed; its last lines if it fails."""
    lines: list[str] = []
    steps = 0
    live = sys.stdout.isatty()
    _say(f"{what}…", live=live)
    with subprocess.Popen(
        command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if counted and line.startswith(counted):
                steps += 1
                if live or steps % 25 == 0:
                    _say(f"{what}… {steps}{f' of {of}' if of else ''}", live=live)
    if process.returncode:
        raise StackError(f"{what}: `{' '.join(command[:4])} …` failed:\n{''.join(lines[-LAST_LINES:])}")
    _say(f"{what}: done", live=live, last=True)


def _say(text: str, *, live: bool, last: bool = False) -> None:
    start, end = ("\r\033[K", "\n" if last else "") if live else ("", "\n")
    sys.stdout.write(f"{start}  {text}{end}")
    sys.stdout.flush()


def fingerprint(path: Path, *more: str) -> str:
    return hashlib.sha256(path.read_bytes() + "\0".join(more).encode()).hexdigest()


def is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted
