"""An empty job: opens one Delta table and says that it has its first row."""

from __future__ import annotations

import sys

from jobs.console import say
from jobs.spark.session import session

row = session("first_row").read.format("delta").load(sys.argv[1]).first()
say(f"first row: {row}")
