"""A row of `make bench`: what the product takes, beside its ceiling in the same run, and how near it should come."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.bench.lab import Lab

GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds, and the most bytes that all of its processes held at one moment."""

    seconds: float
    peak_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(self.seconds + other.seconds, max(self.peak_bytes, other.peak_bytes))

    def __mul__(self, times: float) -> Cost:
        """What so many times the work may take at most: the same memory."""
        return Cost(self.seconds * times, self.peak_bytes)


@dataclass(frozen=True)
class Reach:
    """How near a row should come to its ceiling.

    `speed`: at least that share of the ceiling's speed. `times`: at most so many times its seconds. `seconds`: at most
    so many, whatever the ceiling. `gib`: at most so much memory.
    """

    unit: Literal["speed", "times", "seconds"]
    limit: float
    gib: float | None = None

    def figure(self, product: Cost, ceiling: Cost | None) -> float:
        """What the limit is compared with; NaN where the row has no ceiling to compare with."""
        if self.unit == "seconds":
            return product.seconds
        if ceiling is None:
            return float("nan")
        return ceiling.seconds / product.seconds if self.unit == "speed" else product.seconds / ceiling.seconds

    def holds(self, figure: float, peak_bytes: float) -> bool | None:
        """Whether it is reached; None of a figure that is none."""
        if math.isnan(figure):
            return None
        near = figure >= self.limit if self.unit == "speed" else figure <= self.limit
        return near and (self.gib is None or peak_bytes <= self.gib * GIB)

    def __str__(self) -> str:
        sign = "≥" if self.unit == "speed" else "≤"
        unit = " s" if self.unit == "seconds" else ""
        return f"{sign} {self.limit:g}{unit}" + (f", ≤ {self.gib:g} GiB" if self.gib else "")


@dataclass(frozen=True)
class Row:
    """One line of the table. `stage` is what ROWS selects; `reach` None: only reported; `short`: in SHORT=1, too."""

    name: str
    stage: str
    product: Callable[[Lab], Cost]
    ceiling: Callable[[Lab], Cost] | None = None
    reach: Reach | None = None
    short: bool = False


@dataclass(frozen=True)
class Result:
    """A measured row: the medians of its runs."""

    row: str
    stage: str
    seconds: float
    ceiling_seconds: float | None
    ratio: float | None
    reach: str
    peak_gib: float
    reached: bool | None

    def __str__(self) -> str:
        """A line of the table, as Markdown has it."""
        reached = {True: "yes", False: "no", None: ""}[self.reached]
        ceiling = "" if self.ceiling_seconds is None else f"{self.ceiling_seconds:.2f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        memory = f"{self.peak_gib:.1f}" if self.peak_gib else ""
        return f"| {self.row} | {self.seconds:.2f} | {ceiling} | {ratio} | {self.reach} | {reached} | {memory} |"


HEADER = """| what | seconds | ceiling, s | ratio | target | met | GiB at most |
|---|---|---|---|---|---|---|"""


def measure(rows: Iterable[Row], lab: Lab, runs: int) -> Iterator[Result]:
    """Each row's medians. The product and its ceiling take turns, so that both meet the same machine."""
    for row in rows:
        pairs = [(row.product(lab), row.ceiling(lab) if row.ceiling else None) for _ in range(runs)]
        yield _result(row, pairs)


def _result(row: Row, pairs: list[tuple[Cost, Cost | None]]) -> Result:
    peak = max(product.peak_bytes for product, _ in pairs)
    ceilings = [ceiling.seconds for _, ceiling in pairs if ceiling]
    reach = row.reach or Reach("times", float("inf"))
    figure = statistics.median(reach.figure(product, ceiling) for product, ceiling in pairs)
    return Result(
        row.name,
        row.stage,
        statistics.median(product.seconds for product, _ in pairs),
        statistics.median(ceilings) if ceilings else None,
        figure if ceilings else None,
        str(row.reach or ""),
        peak / GIB,
        row.reach.holds(figure, peak) if row.reach else None,
    )
