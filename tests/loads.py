"""Run beside a test: loads the DAGs of each project whose folder comes on stdin, as Airflow does, and says what it got.

A line a project: a JSON object with `dags`, sorted, and `problems`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # to which Airflow logs from its import on
    from pipeline_config.loader import load

    for line in sys.stdin:
        loaded = load(Path(line.rstrip("\n"), "loader.py"))
        found = {"dags": sorted(loaded.dags), "problems": loaded.problems}
        answers.write(json.dumps(found) + "\n")
        answers.flush()
