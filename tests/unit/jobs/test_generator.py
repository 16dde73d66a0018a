"""The generator: the same bytes every time, the shape of the contract, and truths that are true."""

from __future__ import annotations

import datetime as dt
import json
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import JobError
from jobs.event import CLINICAL_AREAS
from jobs.generator import __main__ as generator
from jobs.generator import corpus
from jobs.generator.defects import (
    INVALID,
    OUT_OF_ORDER_MS,
    OUT_OF_ORDER_SHARE,
    VALID,
    Content,
    Record,
    dirty_content,
    line_of,
)
from jobs.generator.sessions import ANOMALIES, Session, sessions_of
from pipeline_config.project import ROOT

DAY = dt.date(2020, 10, 1)
KEYS = "DateCreated SessionId DocumentId Url Title DOI ClinicalAreas Keywords Documents".split()
RECORD: Record = sessions_of(DAY, 1, 0.1)[0].clicks[0].record


def lines(folder: Path, day: dt.date = DAY) -> list[bytes]:
    """The lines of a day's file."""
    return (folder / f"{day}.json").read_bytes().splitlines()


def truth(folder: Path, day: dt.date = DAY) -> dict[str, Any]:
    """What the generator says of a day."""
    found: dict[str, Any] = json.loads((folder / "truth" / f"{day}.json").read_text())
    return found


def ms_of(record: Record) -> int:
    """DateCreated."""
    return int(record["DateCreated"][6:-2])


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    """Sessions of a fortnight at 0.4 of the scale, about 3,000."""
    return [session for n in range(14) for session in sessions_of(DAY + dt.timedelta(days=n), 3, 0.4)]


@pytest.fixture(scope="module")
def dirty() -> tuple[list[Record], Content]:
    """About 20,000 records, one every five seconds, and their lines with defects."""
    records = [{**RECORD, "DateCreated": f"/Date({1_600_000_000_000 + n * 5_000})/"} for n in range(20_000)]
    return records, dirty_content(records, random.Random(5))  # noqa: S311


def test_same_seed_same_bytes_in_any_order_and_process(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    days = [DAY, DAY + dt.timedelta(days=1)]
    for day in reversed(days):
        generator.write_day(one, day, 0.1, 7, dirty=True)
    options = [f"--out={two}", f"--first-date={days[0]}", f"--last-date={days[1]}", "--scale=0.1", "--seed=7"]
    subprocess.run(
        [sys.executable, "-m", "jobs.generator", *options, "--dirty"], cwd=ROOT, check=True, capture_output=True
    )
    for day in days:
        assert lines(one, day) == lines(two, day)
        assert truth(one, day) == truth(two, day)
    generator.write_day(tmp_path / "three", DAY, 0.1, 8, dirty=True)
    assert lines(tmp_path / "three") != lines(one)


def test_a_line_has_the_keys_and_types_of_the_log_in_order_of_its_day(tmp_path: Path) -> None:
    generator.write_day(tmp_path, DAY, 0.2, 1)
    records = [json.loads(line) for line in lines(tmp_path)]
    for record in records:
        assert list(record) == KEYS
        assert len(record["SessionId"]) == 24
        assert len(set(record["Documents"])) == 20
        assert record["ClinicalAreas"] == "" or record["ClinicalAreas"].startswith(",")
    stamps = [ms_of(record) for record in records]
    midnight = int(dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp() * 1000)
    assert stamps == sorted(stamps)
    assert midnight <= stamps[0]
    assert stamps[-1] < midnight + 86_400_000


def test_each_click_of_a_session_is_in_the_file_of_its_day_once(tmp_path: Path) -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(3)]
    for day in days:
        generator.write_day(tmp_path, day, 0.4, 1)
    written = Counter(line for day in days[1:] for line in lines(tmp_path, day))
    expected: Counter[bytes] = Counter()
    passing_midnight = 0
    for day in days:
        for session in sessions_of(day, 1, 0.4):
            on = [dt.datetime.fromtimestamp(click.ts_ms / 1000, dt.UTC).date() for click in session.clicks]
            passing_midnight += on[0] != on[-1]
            expected.update(line_of(c.record) for c, its in zip(session.clicks, on, strict=True) if its in days[1:])
    assert passing_midnight
    assert written == expected


def test_sessions_and_clicks_are_as_many_as_published(sessions: list[Session]) -> None:
    ordinary = [session for session in sessions if session.kind == "ordinary"]
    assert 0.93 < len(sessions) / (14 * 560 * 0.4) < 1.07
    assert 3.1 < sum(len(session.clicks) for session in ordinary) / len(ordinary) < 3.6
    gaps = [b.ts_ms - a.ts_ms for s in ordinary for a, b in pairwise(s.clicks)]
    assert 40_000 < sorted(gaps)[len(gaps) // 2] < 52_000
    returning = sum(any(b.ts_ms - a.ts_ms > 1_800_000 for a, b in pairwise(s.clicks)) for s in ordinary)
    assert 0.03 < returning / len(ordinary) < 0.055


def test_weekdays_hours_and_holidays_have_their_weight() -> None:
    monday = dt.date(2020, 10, 5)
    weekend = sum(len(sessions_of(monday + dt.timedelta(days=n), 1, 0.4)) for n in (5, 6))
    work = sum(len(sessions_of(monday + dt.timedelta(days=n), 1, 0.4)) for n in (0, 1))
    assert 0.6 < weekend / work < 0.8
    assert len(sessions_of(dt.date(2019, 12, 24), 1, 0.5)) < 0.62 * len(sessions_of(dt.date(2019, 12, 17), 1, 0.5))
    hours = Counter(session.clicks[0].ts_ms // 3_600_000 % 24 for session in sessions_of(monday, 1, 1))
    assert hours[15] > 4 * hours[3]


def test_queries_documents_and_areas_have_their_shares(sessions: list[Session]) -> None:
    records = [click.record for session in sessions for click in session.clicks if session.kind == "ordinary"]
    total = len(records)
    queries = Counter(record["Keywords"] for record in records)
    assert 0.06 < queries[""] / total < 0.10
    assert 4.0 < sum(len(query.split()) for query in queries if query) / (len(queries) - 1) < 5.2
    assert 0.33 < sum(record["DOI"] != "" for record in records) / total < 0.47
    areas = Counter(min(3, record["ClinicalAreas"].count(",")) for record in records)
    assert all(abs(areas[n] / total - share) < 0.05 for n, share in enumerate((0.12, 0.50, 0.25, 0.13)))
    names = [name for record in records for name in record["ClinicalAreas"].split(",") if name]
    assert 0.10 < sum(name not in CLINICAL_AREAS for name in names) / len(names) < 0.18
    ranks = Counter(record["Documents"].index(record["DocumentId"]) for record in records)
    assert ranks[0] > 1.7 * ranks[1] > 3 * ranks[10]
    changes = [
        a.record["Keywords"] != b.record["Keywords"]
        for s in sessions
        if s.kind == "ordinary"
        for a, b in pairwise(s.clicks)
    ]
    assert 0.35 < sum(changes) / len(changes) < 0.45


def test_clicks_without_keywords_are_not_all_on_one_page(sessions: list[Session]) -> None:
    pages = Counter(str(c.record["Documents"]) for s in sessions for c in s.clicks if c.record["Keywords"] == "")
    assert pages.most_common(1)[0][1] < 0.3 * pages.total()


def test_head_queries_carry_the_published_share() -> None:
    rng = random.Random(1)  # noqa: S311
    ranks = [corpus.zipf(rng, corpus.QUERIES, corpus.QUERY_EXPONENT) for _ in range(20_000)]
    known = 1 - corpus.ONE_OFF_SHARE
    assert abs(sum(rank < 5_879 for rank in ranks) / len(ranks) * known - 0.20) < 0.02
    assert abs(sum(rank < 114_193 for rank in ranks) / len(ranks) * known - 0.50) < 0.02


def test_areas_agree_with_titles() -> None:
    for number in range(200):
        document = corpus.document(1, number)
        first = document.areas.split(",")[1] if document.areas else ""
        if first in CLINICAL_AREAS:
            assert f" in {first.lower()}: " in document.title


def test_anomalies_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ANOMALIES:
        monkeypatch.setitem(ANOMALIES, kind, 0.1)  # so that a few sessions hold them all
    found = {session.kind: session for session in sessions_of.__wrapped__(DAY, 1, 0.2)}
    assert found.keys() == {*ANOMALIES, "ordinary"}
    seconds = {kind: [click.ts_ms / 1000 for click in session.clicks] for kind, session in found.items()}
    burst, marathon, metronome = seconds["burst"], seconds["marathon"], seconds["metronome"]
    assert 60 <= len(burst) <= 300
    assert burst[-1] - burst[0] <= 300
    assert marathon[-1] - marathon[0] > 6 * 3600
    assert max(b - a for a, b in pairwise(marathon)) < 1800
    assert len({round(b - a, 3) for a, b in pairwise(metronome)}) == 1
    assert len(metronome) > 11
    assert len({click.record["DocumentId"] for click in found["hammer"].clicks}) == 1
    assert len(found["hammer"].clicks) > 30


def test_anomalies_are_labelled_on_the_day_they_start(tmp_path: Path) -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(4)]
    for day in days:
        generator.write_day(tmp_path, day, 0.7, 1)
    labels = [(day, label) for day in days for label in truth(tmp_path, day)["anomalies"]]
    assert labels
    assert {label["kind"] for _, label in labels} <= ANOMALIES.keys()
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("*.json"))
    for day, label in labels:
        assert dt.datetime.fromtimestamp(label["first_ts"] / 1000, dt.UTC).date() == day
        if day != days[-1]:
            assert everything.count(label["session_id"].encode()) == label["clicks"]


def test_truth_counts_lines_distinct_valid_clicks_and_sessions(tmp_path: Path) -> None:
    generator.write_day(tmp_path, DAY, 1, 5, dirty=True)
    told, found = truth(tmp_path, DAY), lines(tmp_path, DAY)
    invalid = sum(count for kind, count in told["defects"].items() if kind in INVALID)
    assert invalid
    assert told["lines"] == len(found)
    assert told["clicks"] == len(found) - invalid - told["defects"]["duplicate"]
    generator.write_day(tmp_path / "clean", DAY, 1, 5)
    records = [json.loads(line) for line in lines(tmp_path / "clean")]
    told = truth(tmp_path / "clean")
    assert (told["defects"], told["clicks"]) == ({}, len(records))
    assert told["sessions"] == len({record["SessionId"] for record in records})


def test_every_defect_comes_at_its_rate(dirty: tuple[list[Record], Content]) -> None:
    records, content = dirty
    for kind, (rate, _) in (INVALID | VALID).items():
        expected = rate * len(records)
        assert abs(content.defects[kind] - expected) < 4.5 * expected**0.5 + 1, kind
    assert 0.008 < content.defects["duplicate"] / len(records) < 0.012
    assert 0.026 < content.defects["out_of_order"] / len(records) < 0.034 > OUT_OF_ORDER_SHARE


def test_out_of_order_is_under_ten_minutes(dirty: tuple[list[Record], Content]) -> None:
    latest, delays = 0, []
    for line in dirty[1].lines:
        try:
            stamp = ms_of(json.loads(line))
        except (ValueError, KeyError):
            continue
        if 1_600_000_000_000 <= stamp < 1_700_000_000_000:
            delays.append(latest - stamp)
            latest = max(latest, stamp)
    assert 300_000 < max(delays) < OUT_OF_ORDER_MS


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_lines_break_the_contract(kind: str) -> None:
    line = INVALID[kind][1](RECORD)
    assert b"\n" not in line
    try:
        record = json.loads(line)
    except ValueError:
        return
    date = record.get("DateCreated")
    assert (
        not record.get("SessionId")
        or type(record["DocumentId"]) is not int
        or record["DocumentId"] == 0
        or date is None
        or not 946_684_800_000 <= int(date[6:-2]) < 4_000_000_000_000
    )


@pytest.mark.parametrize("kind", VALID)
def test_valid_lines_keep_the_contract(kind: str) -> None:
    line = VALID[kind][1](RECORD)
    assert b"\n" not in line
    assert line != line_of(RECORD)
    record = json.loads(line.removeprefix(b"\xef\xbb\xbf").removesuffix(b","))
    assert record["SessionId"] == RECORD["SessionId"]
    assert record["DocumentId"] > 0
    assert record["DateCreated"].startswith("/Date(1")


def test_options_that_cannot_be_followed_say_why(tmp_path: Path) -> None:
    options = generator.parser().parse_args
    out = tmp_path / "file"
    out.write_text("in the way")
    with pytest.raises(JobError, match="2020-10-01 is before --first-date 2020-10-02"):
        generator.run(options([f"--out={out}", "--first-date=2020-10-02", "--last-date=2020-10-01"]))
    with pytest.raises(JobError, match="choose another --out"):
        generator.run(options([f"--out={out}", "--first-date=2020-10-01", "--last-date=2020-10-01", "--scale=0.01"]))
