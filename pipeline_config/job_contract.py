"""The contract between a job and its runner. All of it is plain data, so that a job imports nothing from this package.

* A job is a module with a function `parser()`, which returns its argparse.ArgumentParser: its options, and of a program
  with modes (subparsers) each mode's. To ask for it runs no job.
* `parser.set_defaults(flow={"reads": [...], "writes": [...]})` declares the data of others that it reads and writes,
  each a pair of its kind, one of KINDS, and its name. `{option}` in a name is the value of that option. A parser
  without a flow reads and writes nothing that others do.
* Exit code 0 is success. USAGE and NON_RETRYABLE mean that a retry would fail too: the task fails without one.
* With ENDS_WITH_STDIN in the environment, whoever started the job holds its stdin: when that ends, so does the job.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline_config.argparse_parts import options

USAGE = 2  # argparse's, for an invalid command line
NON_RETRYABLE = 65  # sysexits.h: the input is wrong
ENDS_WITH_STDIN = "PIPELINE_ENDS_WITH_STDIN"
# What data may be. Who writes a log is no job; a lake's and PostgreSQL's tables have one writer at a time.
KINDS = ("log", "topic", "lake", "postgresql", "asset")


class Data(NamedTuple):
    """What a job reads or writes."""

    kind: str
    name: str


class Flow(NamedTuple):
    """All that a job reads and writes for others, without its checkpoints and bookkeeping."""

    reads: tuple[Data, ...] = ()
    writes: tuple[Data, ...] = ()


def flow_of(parser: argparse.ArgumentParser) -> Flow:
    """What a job's parser declares; ValueError says what violates the contract."""
    declared = parser.get_default("flow")
    if declared is None:
        return Flow()
    if not isinstance(declared, Mapping) or declared.keys() - {*Flow._fields}:
        raise ValueError(f"flow: must be a mapping of {' and '.join(Flow._fields)}, is {declared!r}")
    known = options(parser)
    return Flow(*(tuple(_data(key, declared.get(key, ()), known)) for key in Flow._fields))


def _data(key: str, declared: Any, known: list[str]) -> Iterable[Data]:
    for pair in declared:
        match pair:
            case (str(kind), str(name)) if kind in KINDS:
                for option in _OPTION.findall(name):
                    if option not in known:
                        raise ValueError(
                            f"flow: {key}: {name!r} names the option {option!r}, which the job does not have"
                        )
                yield Data(kind, name)
            case _:
                raise ValueError(f"flow: {key}: {pair!r} is not a pair of a kind ({', '.join(KINDS)}) and a name")


_OPTION = re.compile(r"\{([^{}]*)\}")
