"""One writer at a time for a place of the lake: the lease that a job holds while it writes, on any host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jobs.console import say
from jobs.errors import JobError
from jobs.known_errors import infrastructure_error
from jobs.spark.jvm import jvm_of
from jobs.spark.lease import Lease, state_of
from jobs.spark.lease_files import absolute, files_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LEASE_FOLDER: Final = "_writer"  # a name that Delta ignores

_leases: Final[list[Lease]] = []  # of this job


@contextmanager
def one_writer(spark: SparkSession, path: str) -> Iterator[None]:
    """Hold the right to write `path` (a table's folder or a checkpoint); JobError if another job holds it.

    Two Delta writers on S3 lose acknowledged commits, so the second one is refused, on whatever host it runs.
    """
    name = absolute(path)
    files = files_in(spark, f"{name}/{LEASE_FOLDER}")
    # The JVM's process: it commits, even for a while after this one was killed.
    state = state_of(str(spark.sparkContext.appName), jvm_of(spark).java.lang.ProcessHandle.current().pid())
    lease = Lease(name, files, state, on_loss=spark.sparkContext.cancelAllJobs)
    try:
        lease.take()
    except OSError as error:
        known = infrastructure_error(error)
        kind = type(known) if known else JobError
        raise kind(f"cannot take the lease of {name}: {known or error}") from None
    _leases.append(lease)
    try:
        yield
    except Exception as error:
        if lease.is_lost:  # Spark only says that the jobs were cancelled
            raise lease.loss from error
        raise
    else:
        fence()  # what was written without one, such as a checkpoint
    finally:
        _leases.remove(lease)
        try:
            lease.release()
        except OSError as error:
            say(f"cannot release the lease of {name}, it expires by itself: {error}")


def fence() -> None:
    """JobError if this job has lost one of its leases, as after a long hang: call it directly before each commit."""
    for lease in _leases:
        lease.fence()
