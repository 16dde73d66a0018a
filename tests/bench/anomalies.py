"""`make bench-anomalies`: how well the anomaly rules, by the code of the hot tables, find what the generator injected.

A finding is right when the session's clicks are what the rule describes, which plain Python decides here a second time.
Such sessions are injected, or ordinary ones that came so by chance ("natural"): precision counts both as right,
"labels" only the injected ones. Recall is that of the kind of anomaly that a rule is for. Exit code 1 when one of the
three is below TARGET.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev

import duckdb
import pyarrow as pa

from jobs.generator.sessions import Session, sessions_of
from jobs.spark.anomaly_rules import TIMED
from jobs.spark.anomaly_rules import found as rules_find
from jobs.spark.visits import VISITS

TARGET = 0.95
MINUTE, HOUR = 60_000, 3_600_000
# The kind of anomaly, and its least clicks: those of a burst of 100 in five minutes are 20 in one of them, for sure.
MEANT_FOR = {
    "clicks_5m": ("burst", 0),
    "clicks_1m": ("burst", 100),
    "steady_gaps": ("metronome", 0),
    "same_document_10m": ("hammer", 0),
    "long_activity": ("marathon", 0),
}
FIRST_DAY = dt.date(2020, 1, 1)


@dataclass(frozen=True)
class Truth:
    """What was injected into a session, its clicks, and the rules that its clicks fulfil."""

    kind: str
    clicks: int
    rules: frozenset[str]


def main() -> int:
    """Generate, find, print."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.anomalies", description=__doc__)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--scale", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    truth: dict[str, Truth] = {}
    found = _found(_clicks(chosen, truth))
    injected = Counter(one.kind for one in truth.values() if one.kind != "ordinary")
    say(f"{chosen.days} days at scale {chosen.scale:g}: {len(truth):,} sessions, of them injected:")
    say("  " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(injected.items())))
    say(
        f"\n{'rule':<18}{'found':>6}{'injected':>10}{'natural':>9}{'wrong':>7}{'precision':>11}{'labels':>8}"
        f"   {'for':<11}{'cases':>6}{'recall':>8}"
    )
    good = True
    for rule in MEANT_FOR:
        good &= _line(rule, found[rule], truth)
    say(f"\nat least {TARGET:g} each: {'yes' if good else 'no'}")
    return 0 if good else 1


def _line(rule: str, found: set[str], truth: dict[str, Truth]) -> bool:
    """Print a rule's figures; whether they are good."""
    kind, least = MEANT_FOR[rule]
    right = {session for session in found if rule in truth[session].rules}
    natural = sum(truth[session].kind == "ordinary" for session in right)
    due = {session for session, one in truth.items() if one.kind == kind and one.clicks >= least}
    precision, recall = len(right) / max(1, len(found)), len(due & found) / max(1, len(due))
    injected, wrong = len(right) - natural, len(found) - len(right)
    labels = injected / max(1, len(found))
    cases = f"{kind} {least}+" if least else kind
    say(
        f"{rule:<18}{len(found):>6,}{injected:>10,}{natural:>9,}{wrong:>7,}{precision:>11.3f}{labels:>8.3f}"
        f"   {cases:<11}{len(due):>6,}{recall:>8.3f}"
    )
    return min(precision, labels, recall) >= TARGET


def say(line: str) -> None:
    """Print the line at once."""
    print(line, flush=True)  # noqa: T201


def _fulfilled(session: Session) -> Iterator[str]:
    """The rules that a session's clicks fulfil, by the words of the data dictionary."""
    times = [click.ts_ms for click in session.clicks]
    by_document: dict[int, list[int]] = defaultdict(list)
    for click in session.clicks:
        by_document[click.record["DocumentId"]].append(click.ts_ms)
    if _dense(times, 50, 5 * MINUTE):
        yield "clicks_5m"
    if _dense(times, 20, MINUTE):
        yield "clicks_1m"
    if any(_dense(clicks, 10, 10 * MINUTE) for clicks in by_document.values()):
        yield "same_document_10m"
    visits = list(_visits(times))
    if any(visit[-1] - visit[0] >= 4 * HOUR for visit in visits):
        yield "long_activity"
    if any(_steady([after - before for before, after in pairwise(visit)]) for visit in visits):
        yield "steady_gaps"


def _dense(times: Sequence[int], count: int, length_ms: int) -> bool:
    return any(last - first < length_ms for first, last in zip(times, times[count - 1 :], strict=False))


def _visits(times: Sequence[int]) -> Iterator[list[int]]:
    visit: list[int] = []
    for time in times:
        if visit and time - visit[-1] > 30 * MINUTE:
            yield visit
            visit = []
        visit.append(time)
    yield visit


def _steady(gaps: Sequence[int]) -> bool:
    tens = (gaps[number : number + 10] for number in range(len(gaps) - 9))
    return any(sum(ten) > 0 and pstdev(ten) / fmean(ten) < 0.1 for ten in tens)


def _clicks(chosen: argparse.Namespace, truth: dict[str, Truth]) -> pa.Table:
    """What the rules see of all clicks; `truth` gets every session's."""
    columns: tuple[list[str | int], ...] = ([], [], [], [])
    for day in range(chosen.days):
        for one in sessions_of(FIRST_DAY + dt.timedelta(days=day), chosen.seed, chosen.scale):
            truth[one.session_id] = Truth(one.kind, len(one.clicks), frozenset(_fulfilled(one)))
            for number, click in enumerate(one.clicks):
                row = one.session_id, f"{number:06}", click.ts_ms, click.record["DocumentId"]
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
    return pa.table(dict(zip(("session_id", "event_id", "ms", "document_id"), columns, strict=True)))


def _found(clicks: pa.Table) -> dict[str, set[str]]:
    """The sessions that each rule finds."""
    found: dict[str, set[str]] = defaultdict(set)
    with duckdb.connect() as database:
        database.register("arrived", clicks)
        query = f"""
            WITH clicks AS (SELECT *, ms * 1000 AS event_ts, '' AS query FROM arrived),
            visits AS ({VISITS}), timed AS ({TIMED}), found AS ({rules_find(0)})
            SELECT DISTINCT rule_id, session_id FROM found"""
        for rule, session in database.execute(query).fetchall():
            found[rule].add(session)
    return found


if __name__ == "__main__":
    sys.exit(main())
