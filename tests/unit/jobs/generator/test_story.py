"""The generator's story: each thing that the truth names is in the log, and without a story nothing of it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobs.generator import corpus
from jobs.generator.__main__ import write_day
from jobs.generator.sessions import sessions_of
from jobs.generator.story import NEW_WORD, OUTBREAK, RELEVANCE_SHARES, Story, head_queries, relevance
from pipeline_config.project import ROOT

END = dt.datetime(2020, 10, 14, 9, 20, tzinfo=dt.UTC)
DAYS = [END.date() - dt.timedelta(days=number) for number in reversed(range(10))]
SCALE = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of the story, its last one included, and two without it below `plain`."""
    folder = tmp_path_factory.mktemp("log")
    for day in DAYS:
        write_day(folder, day, SCALE, 1, story=Story(END))
    for day in DAYS[-2:]:
        write_day(folder / "plain", day, SCALE, 1)
    return folder


def records(folder: Path, day: dt.date) -> list[dict[str, Any]]:
    """A day's records."""
    return [json.loads(line) for line in (folder / f"{day}.json").read_bytes().splitlines()]


def told(folder: Path, day: dt.date) -> dict[str, dict[str, Any]]:
    """A day's labels, by kind."""
    truth = json.loads((folder / "truth" / f"{day}.json").read_text())
    return {label["kind"]: label for label in truth["story"]}


def sessions_with(folder: Path, day: dt.date, word: str) -> int:
    """How many sessions of a day ask for a word."""
    return len({record["SessionId"] for record in records(folder, day) if word in record["Keywords"].lower()})


def test_without_a_story_the_bytes_are_what_they_always_were(tmp_path: Path) -> None:
    """The null model of all findings: if you change it on purpose, change these two sums."""
    found = []
    for dirty in (False, True):
        write_day(tmp_path, dt.date(2020, 10, 1), 0.1, 1, dirty=dirty)
        files = (tmp_path / "2020-10-01.json", tmp_path / "truth" / "2020-10-01.json")
        found.append(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16])
    assert found == ["2ad3df34c71cf56b", "fdd483e38050375c"]


def test_a_day_of_a_story_has_the_same_bytes_on_its_own_and_in_another_process(folder: Path, tmp_path: Path) -> None:
    day = DAYS[-1]
    words = [f"--out={tmp_path}", f"--first-date={day}", f"--last-date={day}", f"--scale={SCALE}"]
    command = [sys.executable, "-m", "jobs.generator", *words, f"--story={END:%Y-%m-%dT%H:%M}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name in (f"{day}.json", f"truth/{day}.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_an_outbreak_multiplies_the_visits_for_one_subject_on_its_last_six_days(folder: Path) -> None:
    labelled = [day for day in DAYS if "outbreak" in told(folder, day)]
    assert labelled == DAYS[-6:]
    for day in DAYS[-2:]:
        before, now = sessions_with(folder / "plain", day, OUTBREAK), sessions_with(folder, day, OUTBREAK)
        assert now - before > 0.8 * told(folder, day)["outbreak"]["sessions"] > before


def test_a_new_word_is_asked_for_since_four_days_and_never_before(folder: Path) -> None:
    asked = {day: sessions_with(folder, day, NEW_WORD) for day in DAYS}
    assert [day for day, count in asked.items() if count] == DAYS[-4:]
    assert all(told(folder, day)["new word"]["word"] == NEW_WORD for day in DAYS[-4:])


def test_the_pages_of_head_queries_are_upside_down_on_two_days_a_week_ago(folder: Path) -> None:
    kept, reversed_days = 0, Counter[dt.date]()
    pages = {
        " ".join(terms): [corpus.document(1, number).document_id for number in corpus.results(1, terms)]
        for terms in head_queries(1)
    }
    for day in DAYS:
        for record in records(folder, day):
            if page := pages.get(record["Keywords"]):
                kept += record["Documents"] == page
                reversed_days[day] += record["Documents"] == page[::-1]
    assert [day for day in DAYS if "mishap" in told(folder, day)] == sorted(day for day in DAYS if reversed_days[day])
    assert sorted(day for day in DAYS if reversed_days[day]) == DAYS[2:4]
    assert kept > 2 * reversed_days.total() > 100


def test_nothing_is_clicked_in_the_gap(folder: Path) -> None:
    gap = told(folder, DAYS[-1])["gap"]
    assert gap["last_ts"] - gap["first_ts"] == 2 * 3_600_000
    assert 0 < END.timestamp() * 1000 - gap["last_ts"] < 20 * 3_600_000

    def inside(folder: Path) -> int:
        stamps = (int(record["DateCreated"][6:-2]) for record in records(folder, DAYS[-1]))
        return sum(gap["first_ts"] <= stamp < gap["last_ts"] for stamp in stamps)

    assert inside(folder) == 0 < inside(folder / "plain")


def test_one_burst_is_in_the_last_twenty_hours() -> None:
    planted = [
        session for day in DAYS for session in sessions_of(day, 1, SCALE, Story(END)) if session.planted == "burst"
    ]
    assert [session.kind for session in planted] == ["burst"]
    assert 0 < END.timestamp() * 1000 - planted[0].clicks[-1].ts_ms < 20 * 3_600_000
    assert len(planted[0].clicks) >= 60


def test_clicks_depend_on_relevance_beside_the_place() -> None:
    """A page of one query, clicked as often as its weights say; without a story the place alone counts."""
    terms = ("asthma", "trial")
    page, weights = Story(END).page(1, terms, 0)
    assert page == corpus.results(1, terms)
    assert weights == [relevance(1, terms, number) / rank for rank, number in enumerate(page, 1)]
    levels = Counter(relevance(1, terms, number) for number in range(5_000))
    assert all(abs(levels[level] / 5_000 - share) < 0.03 for level, share in RELEVANCE_SHARES.items())
    assert levels.keys() == RELEVANCE_SHARES.keys()
