"""Sessions of one day: when they start, what they click, and the anomalies among them."""

from __future__ import annotations

import datetime as dt
import math
import random
import string
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jobs.generator import corpus
from jobs.generator.story import Planted, Story

SESSIONS_A_DAY = 560  # at scale 1, derived from 1,602,648 sessions in eight years
HOUR_WEIGHTS = (18, 14, 12, 11, 11, 14, 22, 36, 58, 76, 86, 90, 86, 88, 96, 98, 94, 84, 72, 60, 50, 42, 32, 24)
WEEKDAY_FACTORS = (1.08, 1.14, 1.14, 1.10, 0.96, 0.72, 0.86)  # Monday to Sunday
HOLIDAY_FACTOR = 0.5  # 20 December to 3 January
SESSION_LETTERS = string.ascii_lowercase + "012345"
MAX_CLICKS = 200
MAX_HOURS = 20  # so that a session ends on the day after its start at the latest
GAP_MEDIAN_SECONDS, GAP_SIGMA = 45.0, 1.1
REST_AFTER_SECONDS = 3.5 * 3600  # a longer session without a pause is a marathon, and labelled so
REST_SECONDS = 45 * 60
RETURN_SHARE = 0.04  # of session ids come back after a pause of more than 30 minutes
NEW_QUERY_SHARE = 0.40
EMPTY_QUERY_SHARE = 0.08
# Shares of sessions that are anomalies of a kind; the rest are ordinary.
ANOMALIES = {"burst": 0.0015, "metronome": 0.0005, "marathon": 0.0002, "hammer": 0.0005}
RANKS = range(corpus.RESULTS)
RANK_WEIGHTS = [1 / (rank + 1) for rank in RANKS]


@dataclass
class Click:
    """One click: epoch milliseconds in UTC and the record as its log line has it."""

    ts_ms: int
    record: dict[str, Any]


@dataclass
class Session:
    """One session id with its clicks in order; `kind` is `ordinary` or the anomaly that was injected.

    `planted` says for what of a story it is there; it is empty for all others.
    """

    session_id: str
    kind: str
    planted: str = ""
    clicks: list[Click] = field(default_factory=list)


@lru_cache(maxsize=2)  # a file needs its day and the day before
def sessions_of(day: dt.date, seed: int, scale: float, story: Story | None = None) -> tuple[Session, ...]:
    """Every session that starts on `day` (UTC), each from a random generator of its own. To be read only: cached."""
    rng = random.Random(f"{seed}:{day}")  # noqa: S311 (synthetic data, not secrets)
    mean = SESSIONS_A_DAY * scale * WEEKDAY_FACTORS[day.weekday()] * (HOLIDAY_FACTOR if _is_holiday(day) else 1)
    count = max(1, round(rng.gauss(mean, math.sqrt(mean))))
    sessions = [_session(random.Random(f"{seed}:{day}:{number}"), day, seed, story) for number in range(count)]  # noqa: S311
    if story:
        queries = [session.clicks[0].record["Keywords"] for session in sessions]
        for number, planted in enumerate(story.planted(rng, day, seed, scale, queries)):
            own = random.Random(f"{seed}:{day}:story:{number}")  # noqa: S311
            sessions.append(_session(own, day, seed, story, planted))
    return tuple(sessions)


def _is_holiday(day: dt.date) -> bool:
    return (day.month, day.day) >= (12, 20) or (day.month, day.day) <= (1, 3)


def _session(
    rng: random.Random, day: dt.date, seed: int, story: Story | None, planted: Planted | None = None
) -> Session:
    session = Session("".join(rng.choices(SESSION_LETTERS, k=24)), _kind(rng))
    hour = rng.choices(range(24), HOUR_WEIGHTS)[0]
    start = dt.datetime.combine(day, dt.time(hour), dt.UTC).timestamp() * 1000 + rng.randrange(3_600_000)
    if planted:
        session.kind, session.planted, start = planted.kind, planted.why, planted.start_ms or start
    offsets = [offset for offset in _offsets_ms(rng, session.kind) if offset < MAX_HOURS * 3_600_000]
    hammered = corpus.zipf(rng, corpus.DOCUMENTS, corpus.DOCUMENT_EXPONENT)
    terms = planted.terms if planted else corpus.new_query(rng, seed)
    query = _typed(rng, terms)
    for offset in offsets:
        if offset and session.kind != "burst" and rng.random() < NEW_QUERY_SHARE:
            terms = corpus.reformulated(rng, seed, terms)
            query = _typed(rng, terms)
        ts_ms = int(start + offset)
        page, weights = story.page(seed, terms, ts_ms) if story else (corpus.results(seed, terms), RANK_WEIGHTS)
        clicked = hammered if session.kind == "hammer" else page[rng.choices(RANKS, weights)[0]]
        session.clicks.append(Click(ts_ms, _record(session.session_id, ts_ms, query, page, clicked, seed)))
    return session


def _typed(rng: random.Random, terms: tuple[str, ...]) -> str:
    return "" if rng.random() < EMPTY_QUERY_SHARE else corpus.typed(rng, terms)


def _kind(rng: random.Random) -> str:
    kinds = [*ANOMALIES, "ordinary"]
    return rng.choices(kinds, [*ANOMALIES.values(), 1 - sum(ANOMALIES.values())])[0]


def _offsets_ms(rng: random.Random, kind: str) -> list[int]:
    """Milliseconds from the session's start to each of its clicks, the first one 0."""
    if kind == "burst":
        return [0, *sorted(rng.randrange(300_000) for _ in range(rng.randint(60, 300) - 1))]
    if kind == "metronome":
        gap = rng.randint(5, 60) * 1000
        return [number * gap for number in range(rng.randint(12, 60))]
    if kind == "marathon":
        return _walk(rng, [rng.uniform(60, 1200) for _ in range(60)])
    if kind == "hammer":
        return _walk(rng, [rng.uniform(2, 15) for _ in range(rng.randint(35, 60))])
    length = min(MAX_CLICKS, 1 + math.floor(rng.lognormvariate(0.31, 1.2)))
    gaps = [rng.lognormvariate(math.log(GAP_MEDIAN_SECONDS), GAP_SIGMA) for _ in range(length - 1)]
    if rng.random() < RETURN_SHARE:
        gaps.insert(rng.randrange(len(gaps) + 1), rng.uniform(31 * 60, 6 * 3600))
    return _walk(rng, _with_rests(gaps))


def _with_rests(gaps: list[float]) -> list[float]:
    """The gaps, some of them lengthened to a pause, so that no visit becomes an anomaly by chance."""
    active, rested = 0.0, []
    for gap in gaps:
        active = active + gap if gap < REST_SECONDS else 0.0
        rests = active > REST_AFTER_SECONDS
        rested.append(REST_SECONDS if rests else gap)
        active = 0.0 if rests else active
    return rested


def _walk(rng: random.Random, gaps_seconds: list[float]) -> list[int]:
    offsets = [0]
    for gap in gaps_seconds:
        offsets.append(offsets[-1] + int(gap * 1000) + rng.randrange(1, 100))
    return offsets


def _record(session_id: str, ts_ms: int, query: str, page: tuple[int, ...], clicked: int, seed: int) -> dict[str, Any]:
    document = corpus.document(seed, clicked)
    return {
        "DateCreated": f"/Date({ts_ms})/",
        "SessionId": session_id,
        "DocumentId": document.document_id,
        "Url": document.url,
        "Title": document.title,
        "DOI": document.doi,
        "ClinicalAreas": document.areas,
        "Keywords": query,
        "Documents": [corpus.document(seed, number).document_id for number in page],
    }
