"""A dashboard in a process of its own: it asks all four cold tables for their clicks until its input ends, and then.

`reader.py QUERIES_A_SECOND`, with libpq's environment. Prints a line when it has its first answer, and at the end a
JSON list of all queries: the seconds from the moment each was due to its end, and the answer, or the error's text.
"""

from __future__ import annotations

import json
import select
import sys
import time

import psycopg

# One statement: what it sees is one moment's.
QUERY = """
    SELECT (SELECT sum(total_events)::bigint FROM daily_traffic),
           (SELECT sum(click_count)::bigint FROM session_analysis),
           (SELECT sum(view_count)::bigint FROM popular_documents),
           (SELECT sum(weighted_clicks)::bigint FROM clinical_areas)
"""


def main() -> None:
    """Ask, each query when it is due: one that is slow makes the next ones late, and their seconds say so."""
    pause = 1 / float(sys.argv[1])
    asked: list[tuple[float, object]] = []
    connection = psycopg.connect("", autocommit=True)
    due, is_last = time.monotonic(), False
    while not is_last:
        is_last = bool(select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0])
        due = min(due, time.monotonic())
        try:
            answer: object = connection.execute(QUERY).fetchone()
        except psycopg.Error as error:
            answer = str(error)
        asked.append((time.monotonic() - due, answer))
        if len(asked) == 1:
            print("reads", flush=True)  # noqa: T201
        due += pause
    print(json.dumps(asked))  # noqa: T201


if __name__ == "__main__":
    main()
