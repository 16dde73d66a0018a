"""The harness of `make bench`: ratios, medians, reach, selection, and the memory of all processes."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from jobs.contract import Click, check
from tests.bench import process
from tests.bench.__main__ import ROWS, selected
from tests.bench.harness import GIB, Cost, Reach, Row, measure
from tests.bench.lab import Lab, Sizes
from tests.bench.lengths import lengthened


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Of three days, with what the tests before have made in it."""
    with Lab(tmp_path_factory.mktemp("lab") / "bench", Sizes.of(3)) as made:
        yield made


@pytest.mark.parametrize(
    ("reach", "product", "ceiling", "figure", "reached"),
    [
        (Reach("speed", 0.7), Cost(10), Cost(7), 0.7, True),
        (Reach("speed", 0.7), Cost(10), Cost(6), 0.6, False),
        (Reach("times", 2.5), Cost(10), Cost(4), 2.5, True),
        (Reach("times", 2.5), Cost(10), Cost(2), 5, False),
        (Reach("times", 2.5, gib=5), Cost(10, 6 * GIB), Cost(10), 1, False),
        (Reach("seconds", 90), Cost(91), Cost(1), 91, False),
    ],
)
def test_whether_a_row_reaches_its_ceiling(
    lab: Lab, reach: Reach, product: Cost, ceiling: Cost, figure: float, reached: bool
) -> None:
    row = Row("a row", "stage", lambda _: product, lambda _: ceiling, reach)
    (result,) = measure([row], lab, runs=1)
    assert (result.ratio, result.reached) == (figure, reached)


def test_medians_of_turns(lab: Lab) -> None:
    turns: list[str] = []
    products, ceilings = iter([10.0, 30.0, 20.0]), iter([10.0, 10.0, 5.0])

    def product(_: Lab) -> Cost:
        turns.append("product")
        return Cost(next(products), GIB)

    def ceiling(_: Lab) -> Cost:
        turns.append("ceiling")
        return Cost(next(ceilings))

    (result,) = measure([Row("a row", "stage", product, ceiling, Reach("times", 3))], lab, runs=3)
    assert turns == ["product", "ceiling"] * 3
    assert str(result) == "| a row | 20.00 | 10.00 | 3.00 | ≤ 3 | yes | 1.0 |"


def test_a_row_without_a_ceiling_is_only_reported(lab: Lab) -> None:
    (result,) = measure([Row("a row", "stage", lambda _: Cost(1), None, Reach("times", 3))], lab, runs=1)
    assert str(result) == "| a row | 1.00 |  |  | ≤ 3 |  |  |"


def test_rows_are_selected_by_stage_and_by_name() -> None:
    assert selected([]) == ROWS
    assert {row.stage for row in selected(["etl", "start"])} == {"etl", "start"}
    assert [row.name for row in selected(["archive, one"])] == ["raw archive, one backlog"]
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_memory_is_that_of_all_processes_and_time_ends_at_a_line() -> None:
    child = "import time; held = bytearray(200 << 20); time.sleep(1.5)"
    parent = f"import subprocess, sys; print('here', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    started = time.monotonic()
    cost = process.run([sys.executable, "-c", parent], until="here")
    assert cost.seconds < time.monotonic() - started - 1.5
    assert cost.peak_bytes > 200 << 20


def test_a_failure_shows_the_output() -> None:
    with pytest.raises(RuntimeError, match="ended with 3:\nwhy"):
        process.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"])


def test_a_log_is_made_once(lab: Lab) -> None:
    files = lab.log(0, 1)
    before = files[0].stat().st_mtime_ns
    assert [file.name for file in lab.log(0, 2)] == ["2019-01-01.json", "2019-01-02.json"]
    assert files[0].stat().st_mtime_ns == before


def test_the_same_clicks_have_everything_ten_times_as_long(lab: Lab) -> None:
    def means(length: int) -> list[float]:
        """Characters of title and query, areas, documents, clicks of a session."""
        (file,) = lengthened(lab, 1, length)
        clicks = [check(line, b"0", int(time.time() * 1000)) for line in file.read_bytes().splitlines()]
        valid = [click for click in clicks if isinstance(click, Click)]
        assert len(valid) == len(clicks)
        columns = ("title", "query", "clinical_areas", "documents")
        lengths = [statistics.mean(len(getattr(click, name) or "") for click in valid) for name in columns]
        return [*lengths, statistics.mean(Counter(click.session_id for click in valid).values())]

    assert means(10) == pytest.approx([10 * mean for mean in means(1)], rel=0.3)  # the last session is a shorter one
