"""The published benchmark's figures. It keeps fewer documents: those with a MEDLINE abstract.

Of the log: Rekabsaz et al., TripClick (SIGIR 2021). Of topics and judgements: the metadata of ir_datasets, counted
there from the files as they are distributed. The judgements of the test split are not public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

Figures = Mapping[str, tuple[int, ...]]  # one number, or of judgements one for each grade from 0 on

FIGURES: Final[Figures] = {
    "lines of the log": (5_317_350,),
    "distinct queries": (1_647_749,),
    "documents": (1_523_878,),
    "topics.head.train": (3_529,),
    "topics.torso.train": (105_964,),
    "topics.tail.train": (576_156,),
    **{f"topics.{group}.{split}": (1_175,) for group in ("head", "torso", "tail") for split in ("val", "test")},
    "qrels.raw.head.train": (61_158, 55_663),
    "qrels.raw.torso.train": (542_078, 424_820),
    "qrels.raw.tail.train": (862_815, 758_678),
    "qrels.raw.head.val": (32_297, 32_067),
    "qrels.raw.torso.val": (7_931, 6_202),
    "qrels.raw.tail.val": (2_098, 1_814),
    "qrels.dctr.head.train": (92_753, 24_139, 7_844, 3_684),
    "qrels.dctr.head.val": (46_936, 13_936, 3_974, 1_966),
}


def beside(figures: Figures) -> Iterator[str]:
    """The lines of a table: each figure of this log, and the published one or a dash."""
    yield f"{'(judgements: by grade, from 0 on)':34} {'this log':>42} {'published':>38}"
    for name, counts in figures.items():
        yield f"{name:34} {_text(counts):>42} {_text(FIGURES[name]) if name in FIGURES else '-':>38}"


def _text(counts: tuple[int, ...]) -> str:
    return " / ".join(f"{count:,}" for count in counts)
