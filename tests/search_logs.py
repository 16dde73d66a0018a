"""Lines of a log for tests of the search marts: what a generated one has too little of."""

from __future__ import annotations

import datetime as dt
import json


def line(at: dt.datetime, session: str, query: str, page: list[int], rank: int) -> bytes:
    """A click on a place of a page, from 1."""
    click = {"DateCreated": f"/Date({int(at.timestamp() * 1000)})/", "SessionId": session, "DocumentId": page[rank - 1]}
    return json.dumps({**click, "Title": f"Title {page[rank - 1]}", "Keywords": query, "Documents": page}).encode()


def frequent_queries(day: dt.date, sessions: int = 30) -> list[bytes]:
    """So many sessions that ask one query, click on its eighth document, never on the first, and ask for more words."""
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    lines = []
    for number in range(sessions):
        at, session = noon + dt.timedelta(minutes=number), f"frequent{number}"
        lines.append(line(at, session, "frequent", list(range(1000, 1010)), 8))
        lines.append(line(at + dt.timedelta(seconds=9), session, "frequent words", [1001, 1000], 1 + number % 2))
    return lines


def outbreak(day: dt.date, visits: int = 4) -> list[bytes]:
    """Five weeks of the same few visits a day, and in the last three days until this one some that ask a new thing."""
    lines = []
    for ago in range(35):
        morning = dt.datetime.combine(day - dt.timedelta(days=ago), dt.time(8), dt.UTC)
        for number in range(visits):
            at, session = morning + dt.timedelta(minutes=number), f"o{ago}.{number}"
            lines.append(line(at, session, f"steady {number % 2}", [20, 21, 22], 1 + number % 2))
            if ago < 3:
                lines.append(line(at + dt.timedelta(seconds=5), f"{session}.new", "ebola steady", [30], 1))
    return lines


def year_apart(day: dt.date) -> tuple[list[bytes], list[bytes]]:
    """Clicks around a year after those of `day`, and these, which make the queries shared, and known, for so long.

    They are two searches of each query, so that its document has a grade.
    """
    after = [6, 7, 363, 364, 371, 372]
    early = dt.datetime.combine(day, dt.time(12), dt.UTC)
    later = [early + dt.timedelta(days=days) for days in after]
    soon = [line(at, f"later{number}", f"asked {number}", [8, 7], 2) for number, at in enumerate(later)]
    minutes = [
        (number, early + dt.timedelta(minutes=number, hours=hour)) for number in range(len(after)) for hour in (0, 1)
    ]
    return soon, [line(at, "early", f"asked {number}", [8, 7], 2) for number, at in minutes]
