"""Run beside a test: loads the DAGs of each project whose folder comes on stdin, as Airflow does, and says what it got.

One line per project: a JSON object with `dags`, sorted, `problems`, and how many `tracebacks` were logged.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # to which Airflow logs from its import on
    from pipeline_config.loader import load, log

    class Tracebacks(logging.Handler):
        """Counts them."""

        count = 0

        def emit(self, record: logging.LogRecord) -> None:
            """One more, if the record has one."""
            self.count += record.exc_info is not None

    log.addHandler(tracebacks := Tracebacks())
    for line in sys.stdin:
        loaded = load(Path(line.rstrip("\n"), "loader.py"))
        found = {"dags": sorted(loaded.dags), "problems": loaded.problems, "tracebacks": tracebacks.count}
        tracebacks.count = 0
        answers.write(json.dumps(found) + "\n")
        answers.flush()
