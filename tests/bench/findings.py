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

from jobs.generator import corpus, story
from jobs.generator.__main__ import write_day
from jobs.generator.story import Story
from jobs.spark.columns import schema
from jobs.spark.columns_search import QUERY_DOCUMENTS, SEARCH_QUALITY, TRENDING
from jobs.spark.contract_arrow import checked
from jobs.spark.search_trends import TRENDS
from jobs.spark.searches import SEARCHES, SEARCHES_COLUMNS
from jobs.spark.tables import CLICKS_COLUMNS
from tests.one_task import found_in, search_days, search_snapshots

DAYS = 75
BASE_DAYS = 34  # before the first day of trending
LAST = dt.date(2020, 10, 15)
LIMIT = 0.02  # of days and kinds, with a false trend
IN_TIME = 3  # days, until a planted trend is found
LEAST_SEARCHES = 100  # with a grade on a page, for a day's agreement to say something
RIGHT = 0.95  # of the verdicts, at least
SEED = 1


@dataclass(frozen=True)
class Found:
    """The rows that matter; `quality` are those of search_quality for all searches of a day, in order."""

    trends: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    tested: int
    quality: list[dict[str, Any]]

    @property
    def covered(self) -> float:
        """The share of the days whose interval holds the MRR of all days."""
        mrr: float = sum(row["rr_sum"] for row in self.quality) / sum(row["known_searches"] for row in self.quality)
        return sum(bool(row["mrr_low"] <= mrr <= row["mrr_high"]) for row in self.quality) / len(self.quality)

    @property
    def agreement(self) -> dict[dt.date, float]:
        """Agreement with earlier clicks of each day on which enough pages have a grade."""
        return {row["event_date"]: row["ndcg_at_10"] for row in self.quality if row["ndcg_searches"] >= LEAST_SEARCHES}


def main() -> int:
    """Measure both, print, compare with the limits."""
    nothing, planted = found_in_log(None), found_in_log(Story(dt.datetime.combine(LAST, dt.time(23, 59), dt.UTC)))
    good = [finds_nothing(nothing), finds_trends(planted), finds_mishap(planted), finds_relevance(planted)]
    return 0 if all(good) else 1


def finds_nothing(nothing: Found) -> bool:
    """Whether there are few false findings where there is nothing to find."""
    of = (DAYS - BASE_DAYS) * 4
    false = len({(row["event_date"], row["kind"]) for row in nothing.trends})
    say(f"nothing to find: {false} of {of} days and kinds with a significant trend (at most {LIMIT:.0%})")
    say(f"nothing to find: {len(nothing.verdicts)} verdicts on {nothing.tested:,} documents (none)")
    say(f"nothing to find: {nothing.covered:.1%} of the days' intervals hold the MRR of all days (95 %)")
    return false <= LIMIT * of and not nothing.verdicts


def finds_trends(planted: Found) -> bool:
    """Whether trending has the words that many people search for at once."""
    good = True
    for word, days in ((story.OUTBREAK, story.OUTBREAK_DAYS), (story.NEW_WORD, story.NEW_WORD_DAYS)):
        began = LAST - dt.timedelta(days=days - 1)
        seen = [row["event_date"] for row in planted.trends if word in row["item"] and row["event_date"] >= began]
        after = (min(seen) - began).days + 1 if seen else None
        say(f"the story's {word}: found on day {after} (at most {IN_TIME})")
        good &= after is not None and after <= IN_TIME
    return good


def finds_mishap(planted: Found) -> bool:
    """Whether agreement with earlier clicks is lower on the days of pages upside down than on each day before."""
    days = [LAST - dt.timedelta(days=ago) for ago in story.MISHAP_DAYS_BEFORE]
    agreement = planted.agreement
    before = [value for day, value in agreement.items() if day < min(days)]
    on_them = ", ".join(f"{agreement[day]:.3f}" for day in days)
    say(f"the story's mishap: agreement of {on_them}, on the {len(before)} days before {min(before):.3f} and more")
    return max(agreement[day] for day in days) < min(before)


def finds_relevance(planted: Found) -> bool:
    """Whether the verdicts are on documents that the story has made more relevant than their page is, or less."""
    numbers = {corpus.document(SEED, number).document_id: number for number in range(corpus.DOCUMENTS)}
    good = True
    for verdict, sign in (("deserves a better place", 1), ("shown too high", -1)):
        named = [row for row in planted.verdicts if row["verdict"] == verdict]
        right = sum(sign * above_page(row["query"], numbers[row["document_id"]]) > 0 for row in named)
        say(f"the story's relevance: {right} of {len(named)} times {verdict!r} is right (at least {RIGHT:.0%})")
        good &= bool(named) and right >= RIGHT * len(named)
    return good


def above_page(query: str, number: int) -> float:
    """How much more relevant the document of that number is than the mean of the query's page."""
    terms = tuple(query.split())
    page = [story.relevance(SEED, terms, other) for other in corpus.results(SEED, terms)]
    return story.relevance(SEED, terms, number) - sum(page) / len(page)


def say(line: str) -> None:
    """Print the line at once."""
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
    quality = days[SEARCH_QUALITY.name].filter(pc.field("query_class") == "all")
    return Found(
        trends.filter(trends["is_significant"]).to_pylist(),
        documents.filter(pc.is_valid(documents["verdict"])).to_pylist(),
        documents["q_more"].length() - documents["q_more"].null_count,
        quality.sort_by("event_date").to_pylist(),
    )


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
