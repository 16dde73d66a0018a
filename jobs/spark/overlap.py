"""Whether a stream's records may already be in its tables, so that each batch must be compared with them.

A stream (one checkpoint) reads each record once, and Delta stores its last batch with the rows: what only it
has written need not be compared. After another stream has written (a deleted checkpoint, the archive), all that
the other had read is behind this one once a round has read everything. That is recorded beside the table, with
what the others had written until then: a round that dies before its end is compared again.

On S3 the first batch of each run is compared too: Spark checks whether a checkpoint file exists, and then writes
it, so a late request of a dead run may replace the file of the following run, and the next one starts too early.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from jobs.spark.delta_log import batches, is_table
from jobs.spark.lease_files import files_in
from jobs.spark.writer import COMPARED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.spark.lease_files import Files

FOLDER: Final = "_caught_up"  # a name that Delta ignores


class Overlap:
    """For the one writer of these tables. It reads their log once: while it holds the lease nobody else writes."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths
        self._files: Files | None = None
        self._note = ""
        self._is_possible = True
        self._is_first = "://" in paths[0]

    def is_possible(self, spark: SparkSession, stream: str) -> bool:
        """Whether the tables may have records that this stream (the id of its checkpoint) reads."""
        if self._files is None:
            self._files = files_in(spark, f"{self._paths[0]}/{FOLDER}")
            self._note = f"{stream}-{self._of_others(spark, stream)}"
            self._is_possible = self._note not in self._files.names()
            if not any(is_table(spark, path) for path in self._paths):
                self.note_end()
        is_first, self._is_first = self._is_first, False
        return self._is_possible or is_first

    def note_end(self) -> None:
        """Record that a round has read everything, past all that others have written."""
        if self._files and self._is_possible:
            self._files.create(self._note, b"")
            self._is_possible = False

    def _of_others(self, spark: SparkSession, stream: str) -> str:
        """What other streams have written, as a name."""
        found = [sorted(batches(spark, path).items()) for path in self._paths]
        others = [[batch for batch in table if batch[0] not in (stream, COMPARED)] for table in found]
        return hashlib.sha256(json.dumps(others).encode()).hexdigest()[:16]
