"""The generator's dirty days: exactly the clicks of the ground truth are kept, and each defect has its reason."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

from jobs.contract import Click, check
from jobs.generator.__main__ import write_day
from tests.clicks import REASONS
from tests.contract_lines import KAFKA_MS


def test_a_dirty_days_lines_are_refused_as_its_truth_says(tmp_path: Path) -> None:
    day = dt.date(2013, 1, 2)
    write_day(tmp_path, day, scale=1, seed=1, dirty=True)
    lines = (tmp_path / f"{day}.json").read_bytes().removesuffix(b"\n").split(b"\n")
    truth = json.loads((tmp_path / "truth" / f"{day}.json").read_text(encoding="utf-8"))
    assert len(lines) == truth["lines"]

    found = [check(line, b"0", KAFKA_MS) for line in lines]
    clicks = [click for click in found if isinstance(click, Click)]

    expected: Counter[str] = Counter()
    for kind, count in truth["defects"].items():
        if kind in REASONS:
            expected[REASONS[kind]] += count
    assert Counter(reason for reason in found if isinstance(reason, str)) == expected
    assert len({click.event_id for click in clicks}) == truth["clicks"]
    assert not [click for click in clicks if any(area.startswith("Other: ") for area in click.clinical_areas)]
