"""What `--story` plants, so that there is something to find; without it clicks depend on rank alone.

A story has an end, the moment at which somebody looks: its events happen before that, or are still under way then.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jobs.generator import corpus

OUTBREAK = "measles"  # a subject
OUTBREAK_DAYS, OUTBREAK_FACTOR = 6, 4
NEW_WORD = "virazomab"  # in no other query
NEW_WORD_DAYS, NEW_WORD_SESSIONS = 4, 10  # a day at scale 1
MISHAP_DAYS_BEFORE = (7, 6)  # the pages of head queries are upside down
MISHAP_QUERIES = 5_879  # as many as there are head queries in the real log
GAP_HOURS_BEFORE = (9, 7)  # nothing is clicked
BURST_HOURS_BEFORE = 3
RELEVANCE_SHARES = {5.0: 0.1, 1.0: 0.3, 0.2: 0.6}  # of the documents of a page


@dataclass(frozen=True)
class Planted:
    """A session that the story adds: why, its first query, and when it starts if not at random."""

    why: str
    kind: str
    terms: tuple[str, ...]
    start_ms: int | None = None


@dataclass(frozen=True)
class Story:
    """The story that ends at this moment (UTC)."""

    end: dt.datetime

    def planted(
        self, rng: random.Random, day: dt.date, seed: int, scale: float, queries: Iterable[str]
    ) -> list[Planted]:
        """The sessions to add to those of a day, whose first queries are these."""
        found = []
        if self._began(OUTBREAK_DAYS) <= day:
            asked = sum(OUTBREAK in query.lower() for query in queries)
            found += [_asks("outbreak", rng, seed, OUTBREAK) for _ in range(asked * (OUTBREAK_FACTOR - 1))]
        if self._began(NEW_WORD_DAYS) <= day:
            found += [_asks("new word", rng, seed, NEW_WORD) for _ in range(max(1, round(NEW_WORD_SESSIONS * scale)))]
        burst = self.end - dt.timedelta(hours=BURST_HOURS_BEFORE)
        if burst.date() == day:
            found.append(Planted("burst", "burst", corpus.new_query(rng, seed), round(burst.timestamp() * 1000)))
        return found

    def page(self, seed: int, terms: tuple[str, ...], ts_ms: int) -> tuple[tuple[int, ...], list[float]]:
        """The result page at that time, and how likely a click is at each place: by relevance / rank."""
        page = corpus.results(seed, terms)
        day = dt.datetime.fromtimestamp(ts_ms / 1000, dt.UTC).date()
        if self._has_mishap(day) and terms in head_queries(seed):
            page = page[::-1]
        return page, [relevance(seed, terms, number) / rank for rank, number in enumerate(page, 1)]

    def is_silent(self, ts_ms: int) -> bool:
        """Whether nothing is clicked at that time."""
        first, last = self._gap()
        return first <= ts_ms < last

    def labels(self, day: dt.date, planted: Counter[str]) -> Iterator[dict[str, Any]]:
        """The truth of a day: each event that affects the day, and how many sessions were added for it."""
        yield {"kind": "relevance", "shares": {str(level): share for level, share in RELEVANCE_SHARES.items()}}
        if self._has_mishap(day):
            yield {"kind": "mishap", "queries": MISHAP_QUERIES}
        first, last = self._gap()
        if any(dt.datetime.fromtimestamp(moment / 1000, dt.UTC).date() == day for moment in (first, last - 1)):
            yield {"kind": "gap", "first_ts": first, "last_ts": last}
        words = {"outbreak": {"word": OUTBREAK}, "new word": {"word": NEW_WORD}}
        for why, sessions in sorted(planted.items()):
            yield {"kind": why, **words.get(why, {}), "sessions": sessions}

    def _began(self, days: int) -> dt.date:
        return self.end.date() - dt.timedelta(days=days - 1)

    def _has_mishap(self, day: dt.date) -> bool:
        return (self.end.date() - day).days in MISHAP_DAYS_BEFORE

    def _gap(self) -> tuple[int, int]:
        hour = self.end.replace(minute=0, second=0, microsecond=0)
        first, last = (round((hour - dt.timedelta(hours=hours)).timestamp() * 1000) for hours in GAP_HOURS_BEFORE)
        return first, last


def _asks(why: str, rng: random.Random, seed: int, word: str) -> Planted:
    return Planted(why, "ordinary", (word, *corpus.new_query(rng, seed)[1:]))


@lru_cache(maxsize=4)
def head_queries(seed: int) -> frozenset[tuple[str, ...]]:
    """The most frequent queries."""
    return frozenset(corpus.known_query(seed, rank) for rank in range(MISHAP_QUERIES))


@lru_cache(maxsize=100_000)
def relevance(seed: int, terms: tuple[str, ...], number: int) -> float:
    """How relevant the document of that number is to a query; the ranker does not know."""
    digest = hashlib.blake2b(f"{seed}:{' '.join(terms)}:{number}".encode(), digest_size=4).digest()
    share = int.from_bytes(digest) / 2**32
    for level, limit in RELEVANCE_SHARES.items():
        if share < limit:
            return level
        share -= limit
    return level
