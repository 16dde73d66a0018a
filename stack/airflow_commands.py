"""`airflow_commands.py JSON`: commands of Airflow, each a list of words, one after the other until one fails.

All in one process, since a command mostly waits for Airflow to start.
"""

from __future__ import annotations

import json
import sys

from airflow.__main__ import main

if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        sys.argv[1:] = words
        main()  # type: ignore[no-untyped-call]
