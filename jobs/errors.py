"""How a job fails: one family of errors, by what has to follow, and the exit code of each kind."""

from __future__ import annotations

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
USAGE = 2  # argparse's, of a command line that it does not take
NON_RETRYABLE = 65  # sysexits.h: the input is wrong


class JobError(Exception):
    """What is wrong and what to do, in one line that a person reads in a task's log. Another try may go well."""

    exit_code = 1


class NonRetryableError(JobError):
    """What no other try fixes: somebody has to look. Our operators then fail the task without its retries."""

    exit_code = NON_RETRYABLE


class LogFileError(JobError):
    """A file that cannot be read to its end; the lines before that are good."""


class BrokenFileError(LogFileError):
    """One whose content is broken: reading it again does not help."""


class Terminated(BaseException):
    """SIGTERM, or SIGHUP when the terminal of an SSH task goes away. No `except Exception` swallows it."""
