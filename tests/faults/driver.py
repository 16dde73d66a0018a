"""For spark-submit: a job that ends by signal 9, JVM and all, before or after the n-th call of a named function.

`driver.py JOB [--die before|after MODULE:FUNCTION N] [--signal STOP] [--elsewhere] [--records-per-batch N] --
OPTIONS OF THE JOB`. With `--signal STOP` it stops there; `--elsewhere`: other jobs take it to be on another host.
Nothing in the product knows of it: the function is wrapped from outside.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from jobs import cli
from jobs.spark import kafka_records, lease


def die(number: signal.Signals) -> None:
    """End or stop the process group: spark-submit's JVM and this interpreter."""
    os.killpg(os.getpgrp(), number)


def die_at(when: str, place: str, number: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Wrap the function of `place` so that its call of this number, counted from 1, is the last thing that happens."""
    module, _, name = place.partition(":")
    *owners, last = name.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    function: Callable[..., Any] = getattr(owner, last)
    calls = itertools.count(1)

    @functools.wraps(function)
    def deadly(*positional: Any, **named: Any) -> Any:
        is_the_one = next(calls) == number
        if is_the_one and when == "before":
            die(by)
        result = function(*positional, **named)
        if is_the_one and when == "after":
            die(by)
        return result

    setattr(owner, last, deadly)
    for user in list(sys.modules.values()):  # also where it was imported by its name
        if getattr(user, "__dict__", {}).get(last) is function:
            setattr(user, last, deadly)


def main() -> int:
    """Run the job; its exit code."""
    options = argparse.ArgumentParser()
    options.add_argument("job")
    options.add_argument("--die", nargs=3, metavar=("WHEN", "PLACE", "NUMBER"))
    options.add_argument("--signal", choices=["KILL", "STOP"], default="KILL")
    options.add_argument("--elsewhere", action="store_true")
    options.add_argument("--records-per-batch", type=int, default=kafka_records.MAX_RECORDS_PER_BATCH)
    words = sys.argv[1:]
    chosen = options.parse_args(words[: words.index("--")])
    kafka_records.MAX_RECORDS_PER_BATCH = chosen.records_per_batch  # type: ignore[misc]  # many small batches
    job = importlib.import_module(f"jobs.spark.{chosen.job}")
    if chosen.die:
        when, place, number = chosen.die
        die_at(when, place, int(number), signal.Signals[f"SIG{chosen.signal}"])
    if chosen.elsewhere:
        lease._identity = lambda pid: ""  # noqa: ARG005 (the name is the function's own)
    return cli.main(job.parser(), job.run, words[words.index("--") + 1 :])


if __name__ == "__main__":
    sys.exit(main())
