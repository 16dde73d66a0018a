"""What servers, hosts and libraries say when they fail, and the JobError that a job raises instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jobs.errors import JobError, NonRetryableError


@dataclass(frozen=True)
class Known:
    """An error by the words of whoever says it, and what a job says instead."""

    sign: str
    message: str
    kind: type[JobError] = JobError


# What any job may meet on its host and its servers: the system, a JVM, PostgreSQL, S3.
INFRASTRUCTURE_ERRORS = (
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


def infrastructure_error(error: Exception) -> JobError | None:
    """What to raise instead of an exception that comes from outside; None of another one."""
    return recognised(error, INFRASTRUCTURE_ERRORS)


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
