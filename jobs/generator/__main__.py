"""`python -m jobs.generator`: writes DIR/YYYY-MM-DD.json for each day, and DIR/truth/ with what they contain."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from jobs import arguments, cli
from jobs.console import say
from jobs.errors import JobError
from jobs.generator.defects import DAY_MS, Content, Record, dirty_content, line_of
from jobs.generator.sessions import Session, sessions_of
from jobs.generator.story import Story


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m jobs.generator", description=__doc__)
    options.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    options.add_argument("--first-date", type=arguments.day, required=True, help="first day, YYYY-MM-DD (UTC)")
    options.add_argument("--last-date", type=arguments.day, required=True, help="last day (included)")
    size = "1 is about 560 sessions and 1,900 clicks per day, plus 200 clicks of anomalies"
    options.add_argument("--scale", type=arguments.positive_float, default=1.0, help=size)
    options.add_argument("--seed", type=int, default=1, help="another seed, other clicks")
    options.add_argument("--dirty", action="store_true", help="with the defects of the contract")
    story = (
        "with something to find until this moment (YYYY-MM-DD or YYYY-MM-DDTHH:MM, UTC): an outbreak, a new word, a "
        "mishap of the ranking, a gap, a burst, and clicks that depend on relevance"
    )
    options.add_argument("--story", type=arguments.moment, metavar="END", help=story)
    return options


def run(options: argparse.Namespace) -> None:
    """Write every day; raises JobError when the last day is before the first, or the folder cannot be written."""
    days = (options.last_date - options.first_date).days + 1
    if days < 1:
        raise JobError(f"--last-date {options.last_date} is before --first-date {options.first_date}")
    story = Story(options.story) if options.story else None
    total = 0
    for number in range(days):
        day = options.first_date + dt.timedelta(days=number)
        try:
            total += write_day(options.out, day, options.scale, options.seed, dirty=options.dirty, story=story)
        except OSError as error:
            raise JobError(f"{day} cannot be written to {options.out} ({error}): choose another --out") from error
    say(f"generated {total:,} clicks of {days} days in {options.out}")


def write_day(
    folder: Path, day: dt.date, scale: float, seed: int, *, dirty: bool = False, story: Story | None = None
) -> int:
    """Write one day's file and its truth; the number of its distinct valid clicks.

    A file holds the clicks that happened on its UTC day, also those of sessions that started the day before (and, when
    dirty, some that arrive days late). The truth: date; lines; clicks (distinct valid ones) and the sessions that
    they belong to; anomalies (session_id, kind, first_ts and last_ts in epoch milliseconds, clicks) by the day on which
    they start, whole and as they were before any defect; defects by kind; and with a story, what of it touches the day.
    """
    today = sessions_of(day, seed, scale, story)
    sessions = (*sessions_of(day - dt.timedelta(days=1), seed, scale, story), *today)
    first = int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1000
    clicks = [click for session in sessions for click in session.clicks if 0 <= click.ts_ms - first < DAY_MS]
    if story:
        clicks = [click for click in clicks if not story.is_silent(click.ts_ms)]
    clicks.sort(key=lambda click: (click.ts_ms, click.record["SessionId"]))
    content = _content([click.record for click in clicks], random.Random(f"{seed}:{day}:dirty") if dirty else None)  # noqa: S311
    truth = {
        "date": str(day),
        "lines": len(content.lines),
        "clicks": content.clicks,
        "sessions": content.sessions,
        "anomalies": [_anomaly(session) for session in today if session.kind != "ordinary"],
        "defects": dict(sorted(content.defects.items())),
    }
    if story:
        truth["story"] = list(story.labels(day, Counter(session.planted for session in today if session.planted)))
    _write(folder / "truth" / f"{day}.json", json.dumps(truth, indent=1).encode() + b"\n")
    _write(folder / f"{day}.json", b"".join(line + b"\n" for line in content.lines))
    return content.clicks


def _content(records: list[Record], dirt: random.Random | None) -> Content:
    if dirt:
        return dirty_content(records, dirt)
    lines = [line_of(record) for record in records]
    return Content(lines, len(set(lines)), len({record["SessionId"] for record in records}), Counter())


def _anomaly(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "kind": session.kind,
        "first_ts": session.clicks[0].ts_ms,
        "last_ts": session.clicks[-1].ts_ms,
        "clicks": len(session.clicks),
    }


def _write(path: Path, content: bytes) -> None:
    """Atomically, so that a producer never reads half a day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
