"""`make bench`: what every stage takes, beside its ceiling from the same run, as one table.

ROWS selects stages or words of a row's name, DAYS the length of the log; --json writes the figures to a file.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import sys
from pathlib import Path

from stack.home import Home
from tests.bench import chain, etl, hot, load, producer, starts, streams
from tests.bench.harness import HEADER, Row, measure
from tests.bench.lab import Lab, Sizes

_STAGES = (starts.ROWS, producer.ROWS, streams.ROWS, etl.ROWS, load.ROWS, etl.SEARCH_ROWS, hot.ROWS, chain.ROWS)
ROWS: list[Row] = [row for rows in _STAGES for row in rows]
SHORT = Sizes.of(3)


def main() -> int:
    """Measure and print; 0 whatever the figures are: a machine that is busy makes no stage wrong."""
    options = _parser().parse_args()
    rows = [row for row in selected(options.rows) if row.short or not options.short]
    if not rows:
        print(f"no row is called {' or '.join(options.rows)}; there are: {', '.join(row.name for row in ROWS)}")  # noqa: T201
        return 2
    sizes = Sizes.of(options.days) if options.days else SHORT if options.short else Sizes()
    runs = 1 if options.short else options.runs
    results = []
    with Lab(options.folder, sizes, keep=options.keep) as lab:
        print(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, medians of {runs}, {sizes}\n\n{HEADER}", flush=True)  # noqa: T201
        for result in measure(rows, lab, runs):
            print(result, flush=True)  # noqa: T201
            results.append(dataclasses.asdict(result))
    if options.json:
        options.json.write_text(json.dumps({"days": vars(sizes), "runs": runs, "rows": results}, indent=1) + "\n")
    return 0


def selected(words: list[str]) -> list[Row]:
    """The rows of these stages, and those whose names hold one of the words; all when there is none."""
    return [row for row in ROWS if not words or any(word == row.stage or word in row.name for word in words)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"stages ({', '.join(dict.fromkeys(row.stage for row in ROWS))})")
    parser.add_argument("--days", type=int, default=0, help="of the log; the long history has eight times as many")
    parser.add_argument("--runs", type=int, default=3, help="of each row; the figures are medians")
    parser.add_argument("--short", action="store_true", help="small data, one run")
    parser.add_argument("--keep", action="store_true", help="take the data of the last run")
    parser.add_argument("--folder", type=Path, default=Home().root / "bench", help="where the data are")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
