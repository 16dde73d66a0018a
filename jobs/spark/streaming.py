"""The loop of every stream: rounds that read all there is, ended only between two micro-batches."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.console import say
from jobs.errors import JobError, NonRetryableError, Terminated
from jobs.known_errors import Known, infrastructure_error, recognised
from jobs.spark.jvm import signals_in_jvm
from jobs.spark.one_writer import fence

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WriteBatch = Callable[["DataFrame", int], None]
SIGNALS = ("TERM", "HUP")  # HUP: the terminal of an SSH task goes away


@dataclass(frozen=True)
class Limits:
    """When a stream ends. `run_minutes` None: after one round, however long it takes."""

    run_minutes: float | None = None
    interval_seconds: float = 30
    until_caught_up: bool = True


class StopBetweenBatches(Exception):  # noqa: N818  (an event, not an error)
    """Raised at the start of a micro-batch, which then runs first next time."""


class Stop:
    """Whether the stream has to end: a signal arrived, or the time is over."""

    def __init__(self, run_minutes: float | None = None) -> None:
        self.signalled = threading.Event()
        self._deadline = time.monotonic() + run_minutes * 60 if run_minutes else float("inf")

    @property
    def time_is_over(self) -> bool:
        """Whether the run's minutes have passed."""
        return time.monotonic() >= self._deadline

    def check(self) -> None:
        """Raise StopBetweenBatches when the stream has to end."""
        if self.signalled.is_set() or self.time_is_over:
            raise StopBetweenBatches

    def wait(self, seconds: float) -> None:
        """Wait; a signal or the end of the time cuts it short."""
        self.signalled.wait(max(0.0, min(seconds, self._deadline - time.monotonic())))


def run_rounds(
    stream: DataFrame,
    write: WriteBatch,
    checkpoint: str,
    limits: Limits,
    at_end: Callable[[], None] = lambda: None,
) -> None:
    """Run `write(batch, batch_id)` on all micro-batches of `stream`, in rounds, until `limits` say so.

    `at_end` runs after each round that has read everything.

    A round reads everything that is there when it starts. A batch in which the job dies runs again with the same id and
    rows: `write` must make that harmless. What `write` raises is raised here. Terminated: a signal ended the stream.
    JobError: the time was over before a stream had caught up that should.
    """

    def work(stop: Stop) -> bool:
        caught_up = _round(stream, write, checkpoint, stop)
        if caught_up:
            at_end()
        return caught_up

    repeat(stream.sparkSession, work, limits)


def repeat(spark: SparkSession, work: Callable[[Stop], bool], limits: Limits) -> None:
    """Run rounds of `work`, which says whether it read all there was, until `limits` say so. Raises as `run_rounds`."""
    stop = Stop(limits.run_minutes)
    with _signals(spark, stop):
        while True:
            started = time.monotonic()
            caught_up = work(stop)
            if stop.signalled.is_set():
                raise Terminated
            if limits.until_caught_up:
                break
            stop.wait(limits.interval_seconds - (time.monotonic() - started))
            if stop.time_is_over:
                say(f"ends after {limits.run_minutes:g} minutes, as --run-minutes says")
                return
    if not caught_up:
        raise JobError(f"not caught up within {limits.run_minutes:g} min: run it again, it continues where it stopped")
    say("caught up")


def _round(stream: DataFrame, write: WriteBatch, checkpoint: str, stop: Stop) -> bool:
    """Whether the round read everything; False if `stop` ended it."""
    from pyspark.errors import StreamingQueryException

    raised: list[Exception] = []

    def guarded(batch: DataFrame, batch_id: int) -> None:
        try:
            stop.check()
            fence()
            write(batch, batch_id)
        except Exception as error:
            raised.append(_explained(error, checkpoint))
            if isinstance(raised[0], (StopBetweenBatches, JobError)):
                # The JVM would log this as a failed query, with its stack.
                batch.sparkSession.sparkContext.setLogLevel("OFF")
            raise

    writer = stream.writeStream.foreachBatch(guarded).option("checkpointLocation", checkpoint)
    query = writer.trigger(availableNow=True).start()
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        if not raised:
            raise _explained(error, checkpoint) from error
        if isinstance(raised[0], StopBetweenBatches):
            return False
        raise raised[0] from None
    return True


def _explained(error: Exception, checkpoint: str) -> Exception:
    """The JobError for a known failure of a stream or its batch, else the error itself."""
    if isinstance(error, JobError):
        return error
    known = (
        Known(
            "data may have been lost",
            "Kafka dropped records before they were read (its retention is shorter than the stream's pause). To "
            f"continue with what is left, delete {checkpoint}: it is all read again, counted once",
            NonRetryableError,
        ),
        Known(
            "KAFKA_DATA_LOSS",
            "Kafka's offsets are not the checkpoint's: records were dropped, or the topic is new. To continue with "
            f"what is left, delete {checkpoint}: it is all read again, counted once",
            NonRetryableError,
        ),
        Known(".Concurrent", f"another job is writing the same table or checkpoint {checkpoint}: end one of the two"),
        Known(
            "java.lang.ArithmeticException: long overflow",  # of Spark's source, which counts in microseconds
            "Kafka has a record with an impossible timestamp, which Spark cannot read. Run a producer, so that "
            "the topic uses the broker's time; delete the records up to that one (kafka-delete-records.sh) and "
            f"{checkpoint}; then send the days of the deleted ones again: counted once",
            NonRetryableError,
        ),
        Known(
            "org.apache.kafka.common.errors.TimeoutException",
            "Kafka stopped answering: run it again, the stream continues where it stopped",
        ),
    )
    return recognised(error, known) or infrastructure_error(error) or error


@contextmanager
def _signals(spark: SparkSession, stop: Stop) -> Iterator[None]:
    """Signals set `stop`, also in the JVM: that is spark-submit's process, and would halt at once."""
    numbers = [getattr(signal, f"SIG{name}") for name in SIGNALS]
    before = {number: signal.signal(number, lambda *_: stop.signalled.set()) for number in numbers}
    try:
        with signals_in_jvm(spark, SIGNALS, stop.signalled.set):
            yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
