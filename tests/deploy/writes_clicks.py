"""Run by spark-submit: writes a curated stream of three clicks below the folder that its argument names."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.spark.session import session
from tests.clicks import append, at, click, frame

if __name__ == "__main__":
    append(frame(session("clicks"), [click(at(second)) for second in range(3)]), Path(sys.argv[1]))
