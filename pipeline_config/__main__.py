"""`python -m pipeline_config`: the command line."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

if __name__ == "__main__":
    gc.disable()  # a process so short makes little garbage, and looks for it for a tenth of its time
from pipeline_config.command_line import main
from pipeline_config.parsers import in_child_first

__all__ = ["main", "program"]

CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}


def crashed() -> bool:
    """False in a child process, which goes on; True here, should a crash end that; else this ends with its exit code.

    To import each job in a child first would take longer.
    """
    if not (child := os.fork()):
        faulthandler.enable(Path(os.devnull).open("wb"))  # a crash is reported the second time
        return False
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child says so
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if -code not in CRASHES:
        os._exit(code if code >= 0 else 128 - code)  # as a shell reports a signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return True


def program() -> int:
    """The command line as a process: should a job's import crash Python, that is a problem of the job."""
    with nullcontext() if sys.argv[1:2] == ["check"] and not crashed() else in_child_first():
        return main()


if __name__ == "__main__":
    code = program()
    gc.freeze()  # nor at its end, which would take another tenth
    sys.exit(code)
