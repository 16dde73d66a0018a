"""`make bench-findings`: what the search marts find in a log in which there is nothing, and in one with a story.

Without a story clicks depend on the place alone: each finding there is false. DAYS days of each, by DuckDB alone; exit
1 when a false finding is more frequent than LIMIT, or what the story plants is not found in time.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.contract_arrow import checked
from jobs.generator import story
from jobs.generator.__main__ import write_day
from jobs.generator.story import Story
from jobs.spark.columns import schema
from jobs.spark.columns_search import QUERY_DOCUMENTS, TRENDING
from jobs.spark.partition_sql import MART
from jobs.spark.search_trends import TRENDS
from jobs.spark.searches import SEARCHES, SEARCHES_COLUMNS
from jobs.spark.tables import CLICKS_COLUMNS
from tests.one_task import found_in, search_days, search_snapshots

DAYS = 75
BASE_DAYS = 34  # before the first day of trending
LAST = dt.date(2020, 10, 15)
LIMIT = 0.02  # of days and kinds, with a false trend
IN_TIME = 3  # days, until a planted trend is found
SEED = 1


@dataclass(frozen=True)
class Found:
    """The rows that matter."""

    trends: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    tested: int
    covered: float  # the share of the days whose interval holds the MRR of all days


def main() -> int:
    """Measure both, print, compare with the limits."""
    nothing, planted = found_in_log(None), found_in_log(Story(dt.datetime.combine(LAST, dt.time(23, 59), dt.UTC)))
    of = (DAYS - BASE_DAYS) * 4
    false = len({(row["event_date"], row["kind"]) for row in nothing.trends})
    say(f"nothing to find: {false} of {of} days and kinds with a significant trend (at most {LIMIT:.0%})")
    say(f"nothing to find: {len(nothing.verdicts)} verdicts on {nothing.tested:,} documents (none)")
    say(f"nothing to find: {nothing.covered:.1%} of the days' intervals hold the MRR of all days (95 %)")
    good = false <= LIMIT * of and not nothing.verdicts
    for word, days in ((story.OUTBREAK, story.OUTBREAK_DAYS), (story.NEW_WORD, story.NEW_WORD_DAYS)):
        began = LAST - dt.timedelta(days=days - 1)
        seen = [row["event_date"] for row in planted.trends if word in row["item"] and row["event_date"] >= began]
        after = (min(seen) - began).days + 1 if seen else None
        say(f"the story's {word}: found on day {after} (at most {IN_TIME})")
        good &= after is not None and after <= IN_TIME
    say(f"the story's relevance: {len(planted.verdicts)} verdicts on {planted.tested:,} documents (some)")
    return 0 if good and planted.verdicts else 1


def say(line: str) -> None:
    """Print."""
    print(line, flush=True)  # noqa: T201


def found_in_log(plot: Story | None) -> Found:
    """What the marts find in a generated log."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(DAYS):
            write_day(Path(folder), LAST - dt.timedelta(days=number), scale=1, seed=SEED, story=plot)
        clicks = pa.Table.from_batches(curated(Path(folder)))
    searches = found_in(clicks, SEARCHES, SEARCHES_COLUMNS)
    searches = searches.append_column("is_earlier", pa.array([False] * len(searches)))
    trends = found_in(searches, TRENDS, schema(TRENDING))
    days = search_days(searches)
    documents = search_snapshots(searches, days)[QUERY_DOCUMENTS.name]
    return Found(
        trends.filter(trends["is_significant"]).to_pylist(),
        documents.filter(pc.is_valid(documents["verdict"])).to_pylist(),
        documents["q_more"].length() - documents["q_more"].null_count,
        covered(
            days.filter(pc.equal(days["query_class"], "all")).filter(pc.field(MART) == "search_quality").to_pylist()
        ),
    )


def covered(days: list[dict[str, Any]]) -> float:
    """The share of these rows of search_quality whose interval holds the MRR of all of them."""
    mrr: float = sum(row["rr_sum"] for row in days) / sum(row["known_searches"] for row in days)
    return sum(bool(row["mrr_low"] <= mrr <= row["mrr_high"]) for row in days) / len(days)


def curated(folder: Path) -> Iterator[pa.RecordBatch]:
    """The valid clicks of a folder, moments in microseconds."""
    for path in sorted(folder.glob("*.json")):
        lines = path.read_bytes().splitlines()
        sent = pa.array([dt.datetime.combine(LAST, dt.time(), dt.UTC) + dt.timedelta(days=2)] * len(lines))
        records = {
            "topic": ["t"] * len(lines),
            "partition": pa.array([0] * len(lines), pa.int32()),
            "offset": list(range(len(lines))),
            "kafka_ts": sent.cast(pa.timestamp("us", tz="UTC")),
            "key": pa.nulls(len(lines), pa.binary()),
            "value": lines,
            "headers": pa.array([[]] * len(lines), pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
        }
        for batch in checked(iter([pa.record_batch(records)])):
            clicks = batch.filter(batch.column("reason").is_null()).select(list(CLICKS_COLUMNS))
            columns = [pc.cast(one, pa.int64()) if pa.types.is_timestamp(one.type) else one for one in clicks.columns]
            yield pa.RecordBatch.from_arrays(columns, clicks.schema.names)


if __name__ == "__main__":
    sys.exit(main())
