"""How many records a stream has read, and how many were bad, since its last run with few enough bad ones.

A batch is recorded before its rows are written, beside the table, by stream and id: if it runs again, it is there
already. So if a run stores bad records and dies before it reports them, the next one does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from jobs.spark.lease_files import files_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER: Final = "_tally"  # a name that Delta ignores


@dataclass(frozen=True)
class Count:
    """Records read, how many were bad, and the reason and place of one of those."""

    read: int = 0
    bad: int = 0
    example: str = ""

    def __add__(self, other: Count) -> Count:
        return Count(self.read + other.read, self.bad + other.bad, other.example or self.example)


class Tally:
    """The tally of the one writer of the table in this folder."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._files = files_in(spark, f"{path}/{FOLDER}")

    def note(self, stream: str, batch_id: int, count: Count) -> None:
        """Record a batch that is about to be written."""
        self._files.create(f"{stream}-{batch_id}", json.dumps(asdict(count)).encode())

    def total(self) -> Count:
        """The sum of all recorded batches."""
        found = (self._files.read(name) for name in self._names())
        return sum((Count(**json.loads(content)) for content in found if content), Count())

    def clear(self) -> None:
        """Start over: the bad records were reported, or there were none."""
        for name in self._names():
            self._files.delete(name)

    def _names(self) -> list[str]:
        return sorted(name for name in self._files.names() if not name.startswith("."))
