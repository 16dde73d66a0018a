"""The benchmark once more, slowly and literally, from the published steps: a file's name → its text."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from jobs.benchmark.sampling import choose, generator

SPLITS = ("train", "val", "test")


def cleaned(text: str) -> str:
    """As one line, without control characters."""
    return " ".join(re.sub(r"[\x00-\x08\x0e-\x1f]", "", text).split())


def query_of(text: str) -> str:
    """Step 1; empty of an entry that is left out."""
    if "tag:" in text:
        return ""
    text = text.replace("title:", "")
    for pattern in (r"from:\d+", r"to:\d+", r"~\d+", r"\(NOT[^)]*\)", "NOT.*", "OR", "AND"):
        text = re.sub(pattern, "", text)
    for sign in "()":
        text = text.replace(sign, " ")
    text = text.replace("*", "")
    for sign in '“”",':
        text = text.replace(sign, " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def entries(folder: Path) -> list[dict[str, Any]]:
    """The lines that are JSON; `page` is a list of at most 20 numbers, or empty."""
    found = []
    for path in sorted(folder.glob("*.json")):
        for line in path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line.decode("utf-8-sig").strip().removesuffix(","))
            except ValueError:
                continue
            document, page = entry["DocumentId"], entry["Documents"]
            is_page = isinstance(page, list) and len(page) <= 20
            entry["document"] = document if isinstance(document, int) else 0
            entry["page"] = page if is_page else []
            entry["query"] = query_of(cleaned(re.sub("[\ud800-\udfff]", "\ufffd", entry["Keywords"])))
            found.append(entry)
    return found


def group_of(occurrences: int) -> str:
    """Step 10."""
    if occurrences <= 5:
        return "tail"
    return "torso" if occurrences <= 44 else "head"


def grade_of(kind: str, clicked: int, shown: int) -> int:
    """Step 11, and as ir_datasets describes it."""
    share = clicked / shown
    if kind == "dctr":
        return 0 if share < 0.04 else 1 if share < 0.3 else 2 if share < 1 else 3
    return 0 if clicked == 0 else 1 if share < 0.04 else 2 if share <= 0.3 else 3


class Query:
    """What the entries of a query show and click."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.entries = 0
        self.above: dict[int, int] = {}  # 1 of a clicked document; in the order in which they were seen
        self.shown: Counter[int] = Counter()
        self.clicked: Counter[int] = Counter()

    def add(self, clicked: int, page: list[int]) -> None:
        """Step 3."""
        self.entries += 1
        if len(self.text.split(" ")) < 2 or clicked not in page:
            return
        for document in page[: page.index(clicked) + 1]:
            self.above.setdefault(document, 0)
        self.above[clicked] = 1
        self.shown.update(page)
        self.clicked[clicked] += 1

    def judged(self, kind: str, known: dict[int, Any]) -> dict[int, int]:
        """Steps 8 and 11: grades by document, none when no grade is above 0."""
        if kind == "raw":
            grades = {document: grade for document, grade in self.above.items() if document in known}
        else:
            often = {document: shown for document, shown in self.shown.items() if shown > 1 and document in known}
            grades = {document: grade_of(kind, self.clicked[document], shown) for document, shown in often.items()}
        return grades if any(grades.values()) else {}


def split_of(queries: dict[int, Query], groups: dict[str, list[int]], held_out: int) -> dict[int, str]:
    """Step 12."""
    draws, splits = generator(), {}
    for ids in groups.values():
        chosen = choose(draws, [queries[number].entries for number in ids], 2 * held_out)
        for order, place in enumerate(chosen):
            splits[ids[place]] = "val" if order % 2 else "test"
    return splits


def files(folder: Path, held_out: int, listed: dict[int, tuple[str, str]] | None = None) -> dict[str, str]:
    """All files but the manifest, of these documents or of those with a title in the log."""
    ids: dict[str, int] = {}
    queries: dict[int, Query] = {}
    titled: dict[int, tuple[str, str]] = {}
    seen: set[int] = set()
    for entry in entries(folder):
        title = cleaned(html.unescape(entry["Title"]))
        if title and entry["document"]:
            titled.setdefault(entry["document"], (title, entry["Url"]))
        seen |= {entry["document"], *entry["page"]}
        if entry["query"]:
            number = ids.setdefault(entry["query"], len(ids) + 1)
            query = queries.setdefault(number, Query(entry["query"]))
            query.add(entry["document"], entry["page"] or [entry["document"]])
    known = titled if listed is None else {document: listed[document] for document in listed.keys() & seen}
    groups: dict[str, list[int]] = {"tail": [], "torso": [], "head": []}
    for number, query in queries.items():
        if query.judged("raw", known):
            groups[group_of(query.entries)].append(number)
    splits = split_of(queries, groups, held_out)
    texts = {"docs.tsv": "".join(f"{d}\t{title}\t{url}\n" for d, (title, url) in sorted(known.items()))}
    for group, members in groups.items():
        for split in SPLITS:
            chosen = {number: queries[number] for number in members if splits.get(number, "train") == split}
            texts |= _files_of(f"{group}.{split}", chosen, known)
    return texts


def _files_of(name: str, chosen: dict[int, Query], known: dict[int, Any]) -> dict[str, str]:
    """The topics and judgements of a split."""
    rest = "<desc> Descrption:\n\n<narr> Narrative:\n\n</top>\n\n"
    tops = (f"<top>\n\n<num> Number: {n}\n<title> {query.text}\n\n{rest}" for n, query in chosen.items())
    texts = {
        f"topics/topics.{name}.tsv": "".join(f"{number}\t{query.text}\n" for number, query in chosen.items()),
        f"topics/topics.{name}.txt": "".join(tops),
    }
    for kind in ("raw", "dctr", "dctr-docs"):
        judged = {number: query.judged(kind, known) for number, query in chosen.items()}
        texts[f"qrels/qrels.{kind}.{name}.txt"] = "".join(
            f"{number} 0 {document} {grade}\n"
            for number, grades in judged.items()
            for document, grade in grades.items()
        )
    return texts
