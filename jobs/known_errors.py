"""What servers, hosts and libraries report when they fail, and the JobError that a job raises instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jobs.errors import JobError, NonRetryableError


@dataclass(frozen=True)
class Known:
    """An error recognized by its words or its code, and what a job reports instead."""

    sign: str
    message: str
    kind: type[JobError] = JobError


_FULL = "a disk is full, this host's or PostgreSQL's: free space and run it again; what was written stays valid"
_STOPPED = "PostgreSQL was stopped, or ended the session: run it again when it answers"
_CANCELLED = (
    "PostgreSQL cancelled a statement, by the login's statement_timeout or lock_timeout or on somebody's request: "
    "raise its timeouts if they are too short for a load, and run it again; the transaction was rolled back"
)
# What PostgreSQL reports within a session, by SQLSTATE: the text of these errors may quote anybody's rows.
POSTGRESQL_ERRORS = (
    Known(
        "25006",
        "PostgreSQL takes no writes, as a standby does: see that the connection names the primary, and run it again",
    ),
    Known(
        "25P03",
        "the job hung within a transaction until PostgreSQL ended it: run it again; the transaction was rolled back",
    ),
    Known(
        "40P01",
        "another session locked the same tables of PostgreSQL: run it again; the transaction was rolled back",
    ),
    Known(
        "42501",
        "PostgreSQL denies the login what the job needs: run the preflight check, which says what to grant",
        NonRetryableError,
    ),
    Known("53100", _FULL),
    Known("55P03", _CANCELLED),
    Known("57014", _CANCELLED),
    Known("57P01", _STOPPED),
    Known("57P02", _STOPPED),
)
# What any job may meet on its host and its servers: the operating system, a JVM, a connection to PostgreSQL, S3.
INFRASTRUCTURE_ERRORS = (
    Known("No space left on device", _FULL),
    Known(
        "could not write init file",
        "PostgreSQL's disk is full: free space and run it again; what was written stays valid",
    ),
    Known(
        "server closed the connection unexpectedly", "PostgreSQL closed the connection: run it again when it answers"
    ),
    Known("the database system is ", "PostgreSQL is starting or stopping: run it again when it answers"),
    Known(
        "InvalidAccessKeyId",
        "S3 does not know the access key: correct the login of the S3 connection",
        NonRetryableError,
    ),
    Known(
        "SignatureDoesNotMatch",
        "S3 rejects the secret key: correct the password of the S3 connection",
        NonRetryableError,
    ),
    Known(
        "NoAuthWithAWSException",
        "there is no key for S3: set login and password of the S3 connection, or give the Spark server a role",
        NonRetryableError,
    ),
    Known(
        "NoSuchBucket",
        "there is no such bucket: create it, or correct the variable that holds the path",
        NonRetryableError,
    ),
    Known("AWSApiCallTimeoutException", "S3 does not answer: run it again when it does"),
    Known(
        "another job has made this version",
        "another job wrote to the same table at the same time: run it again, nothing counts twice",
    ),
    # The response to a request without a body has no reason.
    Known(
        "Service: S3, Status Code: 403",
        "S3 denies access: correct the key of the S3 connection, or let it or the Spark server's role list, read, "
        "write and delete there",
        NonRetryableError,
    ),
)


def infrastructure_error(error: Exception) -> JobError | None:
    """What to raise instead of an exception from outside; None for any other."""
    if state := getattr(error, "sqlstate", None):
        return next((known.kind(known.message) for known in POSTGRESQL_ERRORS if known.sign == state), None)
    return recognised(error, INFRASTRUCTURE_ERRORS)


def recognised(error: Exception, among: Iterable[Known]) -> JobError | None:
    """The JobError of the first whose sign is in the error's text."""
    text = _full_text(error)
    return next((known.kind(known.message) for known in among if known.sign in text), None)


def _full_text(error: Any) -> str:
    """The text of an error, with the class and the text of each Java exception behind it.

    Without Java's stack, which names classes that had no part in it.
    """
    # Py4J's name, and PySpark's, which is private: test_jvm.py says what to compare after an upgrade.
    java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    lines = [str(error).partition("\n\tat ")[0], *java_causes(java)]
    converted = getattr(error, "_cause", None)  # of one that PySpark has no class for
    return "\n".join([*lines, _full_text(converted)] if converted else lines)


def java_causes(exception: Any) -> Iterator[str]:
    """The class and the text of a Java exception and of each of its causes."""
    while exception is not None:
        yield str(exception.toString())
        exception = exception.getCause()
