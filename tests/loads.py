"""Run beside a test: loads the DAGs of each project whose folder comes on stdin, as Airflow does, and says what it got.

A line a project: a JSON object with `dags`, sorted, and `problems`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # to which Airflow logs from its import on
    import dag_factory_loader as loader

    for line in sys.stdin:
        vars(loader)["ROOT"] = Path(line.rstrip("\n"))
        loader.PROBLEMS.clear()
        found = {"dags": sorted(loader.load()), "problems": loader.PROBLEMS}
        answers.write(json.dumps(found) + "\n")
        answers.flush()
