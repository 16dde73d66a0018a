"""One whole process, timed, with the memory of everything that comes out of it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from stack.process import Process, all_processes, memory
from stack.settings import REPOSITORY
from tests import spark_submit
from tests.bench.harness import Cost

SAMPLE_SECONDS = 0.5


class Peak:
    """The most memory (proportional share of each page) that a process and its descendants held at one moment."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._end = threading.Event()

    @contextmanager
    def sampled(self) -> Iterator[Peak]:
        """Sample while the block runs."""
        sampler = threading.Thread(target=self._sample)
        sampler.start()
        try:
            yield self
        finally:
            self._end.set()
            sampler.join()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, memory(family(self._pid, all_processes())))


def family(pid: int, everyone: Iterable[Process]) -> list[Process]:
    """A process and its descendants."""
    by_pid = {process.pid: process for process in everyone}
    found = {pid} & by_pid.keys()
    while more := {process.pid for process in by_pid.values() if process.parent in found} - found:
        found |= more
    return [by_pid[each] for each in found]


def run(words: Sequence[str], environment: Mapping[str, str] | None = None, *, until: str = "") -> Cost:
    """What a command takes, from its start to its end, or to the line of its output that holds `until`.

    RuntimeError, with all that it said, when it fails or never says so.
    """
    said: list[str] = []
    started = time.monotonic()
    seconds = None
    with subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env={**spark_submit.environment(), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        with Peak(process.pid).sampled() as peak:
            for line in process.stdout or ():
                said.append(line)
                if until and seconds is None and until in line:
                    seconds = time.monotonic() - started
            process.wait()
    if process.returncode or (until and seconds is None):
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{''.join(said)}")
    return Cost(seconds if seconds is not None else time.monotonic() - started, peak.bytes)


def job(name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Cost:
    """What a job of jobs/spark takes by spark-submit, as a task runs it."""
    return run([*spark_submit.command(f"jobs/spark/{name}.py"), *arguments], environment)


def script(name: str, *arguments: str, until: str = "") -> Cost:
    """What a Spark script of tests/bench/scripts takes, with the jobs' settings."""
    return run([*spark_submit.command(f"tests/bench/scripts/{name}.py"), *arguments], until=until)
