"""Run by spark-submit: jobs of jobs/spark one after the other in one driver, whose start takes longer than they do.

Each argument is a job as a list in JSON, as in `'["archive_raw", "--topic=t"]'`. After one that failed none runs, and
the exit code is its.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from jobs import cli


def main() -> int:
    """The exit code of the last job that ran."""
    for words in sys.argv[1:]:
        name, *options = json.loads(words)
        job = import_module(f"jobs.spark.{name}")
        if code := cli.main(job.parser(), job.run, options):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
