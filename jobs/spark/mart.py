"""Tables of the analytics mart in the lake: how a run of an ETL writes them, and what the next run and the load find.

A run records in each of its commits what it read, and the definitions by which it computed.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from jobs.console import say
from jobs.errors import JobError
from jobs.spark import tables
from jobs.spark.columns import schema
from jobs.spark.delta_log import commits, is_table, newest, next_version, partitions
from jobs.spark.month_parts import month_of
from jobs.spark.one_writer import fence
from jobs.spark.partition_sql import INPUT, batches_of, by_partition
from jobs.spark.upkeep import compact, vacuum
from jobs.spark.writer import as_version, require_written

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from jobs.spark.columns import Table
    from jobs.spark.delta_log import Commit

ROWS_A_FILE: Final = 100_000  # load_postgres holds one or two files in memory
# For new tables: a month is a file or two, so column statistics never let a reader skip one.
_UNMEASURED: Final = {"delta.dataSkippingNumIndexedCols": "0"}
_UPKEEP: Final = {"OPTIMIZE", "VACUUM START", "VACUUM END"}  # commits that change no row
_RECENT: Final = 10  # runs: the load does not continue from an older one
_TIDY_EVERY: Final = 10  # commits


@dataclass(frozen=True)
class Group:
    """Tables that one run of the ETL `job` writes together: those of PostgreSQL, and `inner` of the lake."""

    job: str
    names: tuple[str, ...]
    inner: tuple[str, ...] = ()

    @property
    def in_lake(self) -> tuple[str, ...]:
        """The names of all tables of the group, those that only the lake has first."""
        return (*self.inner, *self.names)


COLD: Final = Group("analytics_mart_etl", tables.COLD_MARTS)
SEARCH: Final = Group("search_marts_etl", tables.SEARCH_MARTS, (tables.SEARCHES,))


@dataclass(frozen=True)
class TableVersion:
    """A Delta table at one version. If it is deleted and recreated, its id changes."""

    path: str
    table_id: str
    version: int
    notes_changes: bool

    @classmethod
    def newest(cls, spark: SparkSession, path: str) -> TableVersion | None:
        """The newest version of the table in this folder; None if there is no table."""
        if not is_table(spark, path):
            return None
        table = newest(spark, path)
        return cls(path, table.table_id, table.version, table.notes_changes)

    def rows(self, spark: SparkSession) -> DataFrame:
        """The rows of the table at this version, with its columns and MART_PARTITION."""
        return spark.read.format("delta").option("versionAsOf", self.version).load(self.path)

    def changes(self, spark: SparkSession, since: TableVersion) -> DataFrame:
        """The rows added or removed between two versions, with `_change_type` (insert, delete)."""
        from pyspark.sql import functions as F

        if self.version == since.version:
            return self.rows(spark).where("false").withColumn("_change_type", F.lit("insert"))
        feed = spark.read.format("delta").option("readChangeFeed", "true")
        return feed.option("startingVersion", since.version + 1).option("endingVersion", self.version).load(self.path)


@dataclass(frozen=True)
class Run:
    """A run of the ETL: its id, a digest of the code that defines the marts, what it read, which `days` it changed.

    `days` are those of the clicks, as ISO dates; a table may have further `touched` ones. None: all rows are new.
    """

    run_id: str
    definitions: str
    clicks: TableVersion
    quarantine: TableVersion | None
    days: list[str] | None = None

    def quarantined(self, spark: SparkSession) -> DataFrame:
        """The records in quarantine; none if there is no such table."""
        return self.quarantine.rows(spark) if self.quarantine else spark.createDataFrame([], tables.QUARANTINE_SCHEMA)

    @property
    def note(self) -> str:
        """The run as a commit's userMetadata."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, note: str) -> Run:
        """The run of this note; JobError if another version of the code wrote it."""
        try:
            values = json.loads(note)
            read = {name: values[name] and TableVersion(**values[name]) for name in ("clicks", "quarantine")}
            return cls(**{**values, **read})
        except (ValueError, KeyError, TypeError):
            raise JobError("the mart was written by another version of the ETL: run it again") from None


class Written(NamedTuple):
    """What is in a mart: which run wrote it, when, and its tables, pinned while the next run writes.

    `changed_since`: by the id of this run and of recent ones, the days that have changed since.
    """

    run: Run
    ended: dt.datetime
    marts: dict[str, TableVersion]
    changed_since: dict[str, set[dt.date]]


class Mart:
    """The folder of a group's tables."""

    def __init__(self, spark: SparkSession, root: str, group: Group = COLD, last: Written | None = None) -> None:
        self.spark, self.root, self.group = spark, root, group
        self._last = last

    def continuing(self, last: Written) -> Mart:
        """This mart, which writes a table only if nobody has changed it since `last` was read."""
        return Mart(self.spark, self.root, self.group, last)

    def written(self) -> Written:
        """What the last complete run wrote; JobError if tables are missing, or not all of the same run."""
        marts = {name: self._version(name) for name in self.group.in_lake}
        writes = [self._writes(mart) for mart in marts.values()]
        newest = [next(commits, None) for commits in writes]
        note = newest[0] and newest[0].note
        if note is None or any(commit is None or commit.note != note for commit in newest):
            raise JobError(f"the tables in {self.root} are not of one run: wait for {self.group.job}, or run it again")
        ended = max(commit.when for commit in newest if commit)
        # Any table will do: after an unfinished run, which committed to some tables only, a full run ends the list.
        older = (commit.note or "" for commit in islice(writes[-1], _RECENT))
        return Written(Run.of(note), ended, marts, changed_since(chain([note], older)))

    def _version(self, table: str) -> TableVersion:
        found = TableVersion.newest(self.spark, tables.table_path(self.root, table))
        if not found:
            raise JobError(f"there is no {table} in {self.root}: run {self.group.job} first")
        return found

    def _writes(self, mart: TableVersion) -> Iterator[Commit]:
        """The commits of runs up to this one, newest first."""
        return (commit for commit in commits(self.spark, mart.path, mart.version) if commit.operation not in _UPKEEP)

    def rows(self, table: Table) -> DataFrame:
        """The rows of a table, with the columns that PostgreSQL's has; of its newest version when they are read."""
        rows = self.spark.read.format("delta").load(tables.table_path(self.root, table.name))
        return rows.drop(tables.MART_PARTITION)

    def months(self, table: Table) -> set[int]:
        """The months (see month_parts) of which a table by day has rows."""
        names = partitions(self.spark, tables.table_path(self.root, table.name), tables.MART_PARTITION)
        return {month_of(dt.date.fromisoformat(f"{name}-01")) for name in names}

    def write(self, table: Table, rows: DataFrame, run: Run, months: Collection[int] | None = None) -> None:
        """Replace the table, or these months of it, by `rows`, which have each month in one partition, in order.

        JobError, and the run stays unfinished, if the commit of a job that had hung has come in between.
        """
        started = time.monotonic()
        path, month = tables.table_path(self.root, table.name), tables.MART_PARTITION
        # One folder and one file per month: few files in all, and a changed day rewrites few rows.
        rows = rows.withColumn(month, _month(_day_of(rows.columns)))
        place = ("overwriteSchema", "true") if months is None else ("replaceWhere", _of_months(months))
        writer = rows.write.format("delta").mode("overwrite").option(*place).partitionBy(month)
        found = self._last and self._last.marts[table.name].version
        number = next_version(self.spark, path) if found is None else found + 1
        fence()
        writer.options(maxRecordsPerFile=ROWS_A_FILE, **_UNMEASURED, **as_version(number, run.note)).save(path)
        require_written(self.spark, path, run.note)
        say(f"wrote {table.name} to {path}, took {time.monotonic() - started:.1f} s")

    def writes(
        self, of: Iterable[Table], batches: DataFrame, run: Run, months: Collection[int] | None = None
    ) -> list[Callable[[], None]]:
        """The write of each of these tables, whose rows `batches` has, to be run side by side."""
        return [
            partial(self.write, table, in_order(table, batches_of(batches, table.name)), run, months) for table in of
        ]

    def keep_tidy(self) -> None:
        """From time to time compact small files if there are many, and delete files replaced long ago."""
        for name in self.group.in_lake:
            path = tables.table_path(self.root, name)
            if newest(self.spark, path).version % _TIDY_EVERY == _TIDY_EVERY - 1:
                if not compact(self.spark, path):
                    vacuum(self.spark, path)


def in_months(rows: DataFrame, months: Collection[int]) -> DataFrame:
    """The rows of these months (see month_parts), without MART_PARTITION; `rows` are those of a table in the lake."""
    return rows.where(_of_months(months)).drop(tables.MART_PARTITION)


def in_order(
    table: Table,
    rows: DataFrame,
    queries: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> DataFrame:
    """What by_partition finds, by default the rows as they are, by month and key, as the table's files have them."""
    columns = columns or schema(table)
    order = [f"date_trunc('month', {_day_of(columns)})", *(f"{name} NULLS FIRST" for name in table.key)]
    return by_partition(rows, queries or {"found": f"FROM {INPUT}"}, columns, order=order)


def by_month(table: Table, rows: DataFrame) -> DataFrame:
    """Rows that are anywhere in the same order, each month in one partition."""
    month = _month(_day_of(rows.columns))
    return rows.repartition(month).sortWithinPartitions(month, *table.key)


def _day_of(columns: Collection[str]) -> str:
    return "event_date" if "event_date" in columns else "as_of"


def _month(day: str) -> Column:
    from pyspark.sql import functions as F

    # date_format would take several times as long, for each row.
    return F.concat_ws(
        "-", *(F.lpad(part(day).cast("string"), digits, "0") for part, digits in ((F.year, 4), (F.month, 2)))
    )


def _of_months(months: Collection[int]) -> str:
    """The condition that a row is of one of these months, on the partition column."""
    names = ", ".join(f"'{month // 12:04}-{month % 12 + 1:02}'" for month in sorted(months)) or "NULL"
    return f"{tables.MART_PARTITION} IN ({names})"


def changed_since(notes: Iterable[str]) -> dict[str, set[dt.date]]:
    """Per run the days that have changed since, from the notes of a table's commits, newest first."""
    days: set[dt.date] = set()
    found = {}
    for note in notes:
        try:
            run = Run.of(note)
        except JobError:
            break
        found[run.run_id] = days
        if run.days is None:
            break
        days = days | {dt.date.fromisoformat(day) for day in run.days}
    return found
