"""The clicks since the hot tables' horizon, each once, in a DuckDB file of the driver: a copy of curated clicks."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from jobs.errors import JobError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY_MB: Final = 512  # enough for 5 million clicks; more go to the file
COLUMNS: Final = {
    "event_id": "VARCHAR",
    "event_ts": "BIGINT",  # microseconds since 1970
    "session_id": "VARCHAR",
    "document_id": "BIGINT",
    "title": "VARCHAR",
    "query": "VARCHAR",
    "clinical_areas": "VARCHAR[]",
}
MINUTE: Final = 60_000_000  # of event_ts
_PREFIX: Final = "tripclick_hot_"  # of the database's folder


class RecentClicks:
    """A DuckDB with the tables `recent` (COLUMNS; key event_id) and `touched` (session_id, minute since 1970).

    `touched` is what clicks have arrived for since the last `clear_touched`. Nothing here outlives the process, but for
    one that was killed: the next one deletes what it left.
    """

    def __init__(self, memory_mb: int = MEMORY_MB) -> None:
        import duckdb

        self._memory_mb = memory_mb
        _delete_abandoned()
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self._lock = _locked(Path(self._folder.name))
        self._database = duckdb.connect(Path(self._folder.name) / "clicks.duckdb")
        self._database.execute(
            f"SET memory_limit = '{memory_mb}MB'; SET preserve_insertion_order = false; SET threads = 2"
        )
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()
        if self._lock is not None:
            os.close(self._lock)

    def clear(self) -> None:
        """Empty both tables."""
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self._database.execute(f"CREATE OR REPLACE TABLE recent ({columns})")
        self.clear_touched()

    def clear_touched(self) -> None:
        """Empty `touched`."""
        self._database.execute("CREATE OR REPLACE TABLE touched (session_id VARCHAR, minute BIGINT)")

    def add(self, batch: pa.Table) -> int:
        """Add the clicks (COLUMNS) that are not there yet; returns how many. Known ones touch nothing."""
        self._database.register("batch", batch)
        new = f"SELECT DISTINCT ON (event_id) {', '.join(COLUMNS)} FROM batch ANTI JOIN recent USING (event_id)"
        self.sql(f"CREATE OR REPLACE TEMP TABLE new AS {new}")
        self._database.unregister("batch")
        self.sql("INSERT INTO recent FROM new")
        self.sql(f"INSERT INTO touched SELECT DISTINCT session_id, event_ts // {MINUTE} FROM new")
        return len(batch)

    def touch(self, start: int, end: int) -> None:
        """Add to `touched` the sessions and minutes of the clicks with event_ts in [start, end)."""
        touched = f"SELECT DISTINCT session_id, event_ts // {MINUTE} FROM recent WHERE event_ts >= ? AND event_ts < ?"
        self._database.execute(f"INSERT INTO touched {touched}", [start, end])

    def drop_before(self, event_ts: int) -> None:
        """Forget clicks older than this."""
        self._database.execute("DELETE FROM recent WHERE event_ts < ?", [event_ts])

    def sql(self, query: str) -> duckdb.DuckDBPyConnection:
        """The result of a query on the two tables. JobError: it needs more memory."""
        import duckdb

        try:
            return self._database.execute(query)
        except duckdb.OutOfMemoryException:
            wanted = f"the clicks of 48 hours need more than {self._memory_mb:,} MB: raise --memory-mb"
            raise JobError(wanted) from None


def _locked(folder: Path) -> int | None:
    """An open folder, locked until it is closed or the process ends; None: another process has it, or it is gone."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened


def _delete_abandoned() -> None:
    """Delete the folders of this user's processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if (opened := _locked(folder)) is not None:
            if os.fstat(opened).st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(opened)
