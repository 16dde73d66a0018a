"""The cold chain, from log files to the four tables of PostgreSQL, with the memory of jobs and servers together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab
from tests.bench.lengths import lengthened
from tests.bench.load import empty_tables

STAGE = "chain"
GIB = 8
WHOLE_SECONDS = 15 * 60


def whole(files: Sequence[Path], lab: Lab) -> Cost:
    """Log files of days in a row through every stage, each of which starts when the one before has ended."""
    brokers, topic, root = lab.kafka.address, f"bench.chain.{time.time_ns()}", lab.empty("chain")
    empty_tables(lab)
    curated, mart = f"--curated-path={root}/curated", f"--mart-path={root}/mart"
    source = [f"--kafka-brokers={brokers}", f"--topic={topic}", f"--checkpoint-path={root}/checkpoint"]
    with process.Peak(os.getpid()).sampled() as peak:
        stages = [
            lab.produce(topic, files),
            process.job("streaming_curated", curated, *source, "--until-caught-up=true"),
            process.job("analytics_mart_etl", curated, mart),
            process.job("load_postgres", mart, environment=lab.postgres.connection),
        ]
    return Cost(sum(stage.seconds for stage in stages), peak.bytes)


def _tenth(lab: Lab) -> int:
    return max(1, lab.sizes.log // 10)


def _ten_tenths(lab: Lab) -> Cost:
    """Ten times what a tenth of the log takes."""
    return whole(lab.log(0, _tenth(lab)), lab) * 10


def _log(lab: Lab) -> Cost:
    return whole(lab.log(0, lab.sizes.log), lab)


def _history(lab: Lab) -> Cost:
    return whole(lab.log(0, lab.sizes.history), lab)


def _ten_times_as_long(lab: Lab) -> Cost:
    return whole(lengthened(lab, _tenth(lab), 10), lab)


def _ten_as_long(lab: Lab) -> Cost:
    """Ten times what the same clicks take in short lines and sessions."""
    return whole(lengthened(lab, _tenth(lab), 1), lab) * 10


ROWS = [
    Row("the whole history, from files to tables", STAGE, _history, None, Reach("seconds", WHOLE_SECONDS, gib=GIB)),
    Row("the log, beside ten times a tenth of it", STAGE, _log, _ten_tenths, Reach("times", 1, gib=GIB)),
    Row(
        "each text, list and session ten times as long, beside ten times the short ones",
        STAGE,
        _ten_times_as_long,
        _ten_as_long,
        Reach("times", 1, gib=GIB),
    ),
]
