"""The same clicks in shorter or longer lines: each text, list and session so many times as long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from jobs.event import CLINICAL_AREAS
from tests.bench.lab import Lab

# At length 1. A contract's bounds hold at length 10, too, so that what is long is computed with, not refused.
DOCUMENTS = 2
SESSIONS = 10  # of the log that are one


def lengthened(lab: Lab, days: int, length: int) -> list[Path]:
    """The log files of so many days, with lines and sessions of this length; made once."""
    folder = lab.log_folder.with_name(f"log-of-length-{length}")
    folder.mkdir(exist_ok=True)
    return [_lengthened(file, folder / file.name, length) for file in lab.log(0, days)]


def _lengthened(file: Path, longer: Path, length: int) -> Path:
    if not longer.exists():
        sessions: dict[str, int] = {}
        clicks = [json.loads(line) for line in file.read_bytes().splitlines()]
        for click in clicks:
            number = sessions.setdefault(click["SessionId"], len(sessions)) // (SESSIONS * length)
            click.update(_longer(click, length), SessionId=f"{file.stem}-{number}")
        longer.write_text("".join(f"{json.dumps(click)}\n" for click in clicks), encoding="utf-8")
    return longer


def _longer(click: dict[str, Any], length: int) -> dict[str, Any]:
    texts = {name: " ".join(repeat(click[name], length)) for name in ("Title", "Url", "DOI", "Keywords")}
    areas = _so_many([click["DocumentId"] % len(CLINICAL_AREAS)], range(len(CLINICAL_AREAS)), length)
    documents = _so_many([click["DocumentId"]], click["Documents"], DOCUMENTS * length)
    return {**texts, "ClinicalAreas": ",".join(CLINICAL_AREAS[area] for area in areas), "Documents": documents}


def _so_many(first: Sequence[int], others: Sequence[int], count: int) -> list[int]:
    """These and then others, each once."""
    return list(islice(dict.fromkeys(chain(first, others)), count))
