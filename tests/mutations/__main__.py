"""`python -m tests.mutations`: break the files, edit others oddly, and count what the check catches before Airflow."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutations import edits, run, shared
from tests.mutations.report import as_text, refused_by_airflow


def main() -> int:
    """Exit code 0 when all that the run has to show is so, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000, help="of mutations of the nine pipelines")
    parser.add_argument("--edits", type=int, default=2_000, help="odd values and keys where each key is, one by one")
    parser.add_argument(
        "--shared", type=int, default=1_000, help="of mutations of catalog, defaults, environments, jobs"
    )
    parser.add_argument("--every", type=int, default=20, help="give the loader every n-th refused one (0: none at all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        airflow = run.Airflow(folder / "airflow", options.every) if options.every else None
        found = [as_text(run.run(folder, options.seed, options.count, airflow))]
        if airflow:
            for title, module, count in (("edits", edits, options.edits), ("shared files", shared, options.shared)):
                outcomes = module.run(folder / title, options.seed, count, airflow)
                found.append(refused_by_airflow(title, outcomes))
    print("\n".join(text for text, _ in found))  # noqa: T201
    return 0 if all(good for _, good in found) else 1


if __name__ == "__main__":
    sys.exit(main())
