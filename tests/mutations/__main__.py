"""`python -m tests.mutations --seed N --count N`: break the eight pipelines, and count what the check catches."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutations.report import as_text
from tests.mutations.run import Airflow, run


def main() -> int:
    """Exit code 0 when all that the run has to show is so, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=20, help="give the loader every n-th refused one (0: none at all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        airflow = Airflow(Path(folder) / "airflow", options.every) if options.every else None
        text, good = as_text(run(Path(folder), options.seed, options.count, airflow))
    print(text)  # noqa: T201
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
