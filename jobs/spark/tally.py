"""How many records a stream read, and how many of them were bad, since a run of it ended with few enough bad ones.

A batch is noted before its rows are written, beside the table, by its stream and its id: when it runs again it is there
already. So a run that stored bad records and died before it said so leaves them to be told by the next one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from jobs.spark.lease_files import files_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER: Final = "_tally"  # a name that Delta passes over


@dataclass(frozen=True)
class Count:
    """Records that were read, the bad ones among them, and of one of these its reason and place."""

    read: int = 0
    bad: int = 0
    example: str = ""

    def __add__(self, other: Count) -> Count:
        return Count(self.read + other.read, self.bad + other.bad, other.example or self.example)


class Tally:
    """Of the one writer of the table in this folder."""

    def __init__(self, spark: SparkSession, path: str) -> None:

        self._files = files_in(spark, f"{path}/{FOLDER}")

    def note(self, stream: str, batch_id: int, count: Count) -> None:
        """A batch that is about to be written."""
        self._files.create(f"{stream}-{batch_id}", json.dumps(asdict(count)).encode())

    def total(self) -> Count:
        """Of all batches that are noted."""
        found = (self._files.read(name) for name in self._names())
        return sum((Count(**json.loads(content)) for content in found if content), Count())

    def clear(self) -> None:
        """Somebody has heard of them, or there was nothing to hear."""
        for name in self._names():
            self._files.delete(name)

    def _names(self) -> list[str]:
        return sorted(name for name in self._files.names() if not name.startswith("."))
