"""How a job fails: one family of errors, one exit code for each kind."""

from __future__ import annotations

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
USAGE = 2  # argparse's, for an invalid command line
NON_RETRYABLE = 65  # sysexits.h: the input is wrong


class JobError(Exception):
    """What is wrong and what to do, in one line that a person reads in a task's log. A retry may succeed."""

    exit_code = 1


class NonRetryableError(JobError):
    """An error that no retry fixes. Our operators then fail the task without retries."""

    exit_code = NON_RETRYABLE


class LogFileError(JobError):
    """A file that cannot be read to its end; the lines before that are valid."""


class BrokenFileError(NonRetryableError, LogFileError):
    """One whose content is broken: reading it again does not help."""


class Terminated(BaseException):
    """SIGTERM, or SIGHUP when the terminal of an SSH task goes away. No `except Exception` swallows it."""
