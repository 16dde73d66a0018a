"""The generator: the same bytes every time, the shape of the contract, and truths that are true."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jobs.generator.__main__ import write_day
from jobs.generator.defects import INVALID, VALID
from jobs.generator.sessions import ANOMALIES, sessions_of
from pipeline_config.project import ROOT

DAY = dt.date(2020, 10, 1)
KEYS = "DateCreated SessionId DocumentId Url Title DOI ClinicalAreas Keywords Documents".split()


def lines(folder: Path, day: dt.date = DAY) -> list[bytes]:
    """The lines of a day's file."""
    return (folder / f"{day}.json").read_bytes().splitlines()


def truth(folder: Path, day: dt.date = DAY) -> dict[str, object]:
    """What the generator says of a day."""
    found: dict[str, object] = json.loads((folder / "truth" / f"{day}.json").read_text())
    return found


def test_same_seed_same_bytes_in_any_order_and_process(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    days = [DAY, DAY + dt.timedelta(days=1)]
    for day in reversed(days):
        write_day(one, day, 0.2, 7, dirty=True)
    arguments = [
        f"--out={two}",
        f"--first-date={days[0]}",
        f"--last-date={days[1]}",
        "--scale=0.2",
        "--seed=7",
        "--dirty",
    ]
    subprocess.run([sys.executable, "-m", "jobs.generator", *arguments], cwd=ROOT, check=True, capture_output=True)
    for day in days:
        assert lines(one, day) == lines(two, day)
        assert truth(one, day) == truth(two, day)
    write_day(tmp_path / "three", DAY, 0.2, 8, dirty=True)
    assert lines(tmp_path / "three") != lines(one)


def test_a_line_has_the_keys_and_types_of_the_log(tmp_path: Path) -> None:
    write_day(tmp_path, DAY, 0.5, 1)
    records = [json.loads(line) for line in lines(tmp_path)]
    for record in records:
        assert list(record) == KEYS
        assert len(record["SessionId"]) == 24
        assert record["DocumentId"] in record["Documents"] or len(set(record["Documents"])) == 20
        assert record["ClinicalAreas"] == "" or record["ClinicalAreas"].startswith(",")
    first, last = (int(dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp() * 1000) + n for n in (0, 86_400_000))
    stamps = [int(record["DateCreated"][6:-2]) for record in records]
    assert stamps == sorted(stamps)
    assert first <= stamps[0]
    assert stamps[-1] < last


def test_rates_are_those_of_the_domain() -> None:
    sessions = [s for n in range(14) for s in sessions_of(DAY + dt.timedelta(days=n), seed=3, scale=1)]
    clicks = [click for session in sessions for click in session.clicks]
    ordinary = [session for session in sessions if session.kind == "ordinary"]
    assert 480 < len(sessions) / 14 < 640
    assert 2.9 < sum(len(session.clicks) for session in ordinary) / len(ordinary) < 3.7
    assert 0.06 < sum(click.record["Keywords"] == "" for click in clicks) / len(clicks) < 0.10
    assert 0.35 < sum(click.record["DOI"] != "" for click in clicks) / len(clicks) < 0.45
    kinds = Counter(session.kind for session in sessions)
    assert 0.0005 < kinds["burst"] / len(sessions) < 0.004
    for session in sessions:
        if session.kind == "burst":
            assert 60 <= len(session.clicks) <= 300
            assert session.clicks[-1].ts_ms - session.clicks[0].ts_ms <= 300_000


def test_truth_counts_lines_distinct_valid_clicks_and_defects(tmp_path: Path) -> None:
    for number in range(10):
        write_day(tmp_path, DAY + dt.timedelta(days=number), 1, 5, dirty=True)
    seen: Counter[str] = Counter()
    for number in range(10):
        day = DAY + dt.timedelta(days=number)
        told = truth(tmp_path, day)
        defects = told["defects"]
        assert isinstance(defects, dict)
        seen.update(defects)
        found = lines(tmp_path, day)
        invalid = sum(count for kind, count in defects.items() if kind in INVALID)
        assert told["lines"] == len(found)
        assert told["clicks"] == len(found) - invalid - defects.get("duplicate", 0)
    assert seen["duplicate"] > 100
    assert seen["out_of_order"] > 300
    assert len(seen.keys() & (INVALID | VALID).keys()) > 15


def test_anomalies_are_labelled_on_the_day_they_start(tmp_path: Path) -> None:
    labels = [label for n in range(8) for label in _anomalies(tmp_path, DAY + dt.timedelta(days=n))]
    assert {label["kind"] for label in labels} <= ANOMALIES.keys()
    burst = next(label for label in labels if label["kind"] == "burst")
    everything = b"".join(path.read_bytes() for path in tmp_path.glob("*.json"))
    assert everything.count(str(burst["session_id"]).encode()) == burst["clicks"]


def _anomalies(folder: Path, day: dt.date) -> list[dict[str, object]]:
    write_day(folder, day, 1, 1)
    found = truth(folder, day)["anomalies"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("kind", [*INVALID, *VALID])
def test_every_defect_makes_a_line_of_its_own(kind: str) -> None:
    session = next(sessions_of(DAY, 1, 0.1))
    record = session.clicks[0].record
    line = {**INVALID, **VALID}[kind][1](record)
    assert line
    assert b"\n" not in line
    assert line != INVALID["truncated"][1](record) or kind == "truncated"
