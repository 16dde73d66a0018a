"""Topics, judgements and splits of the log's entries, computed by DuckDB in bounded memory, and their files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from jobs.benchmark import published
from jobs.benchmark.entries import DOCUMENTS, ENTRIES, Log, listed
from jobs.benchmark.sampling import SEED, choose, generator
from jobs.console import say
from jobs.errors import NonRetryableError
from jobs.grading import DCTR_CODE, DCTR_DOCS, TAIL_MOST, TORSO_MOST

GROUPS: Final = ("tail", "torso", "head")  # the published order: the draws depend on it
SPLITS: Final = ("train", "val", "test")

# number of the entry * 32 + place in its page, of MAX_DOCUMENTS places at most: the order in which documents are seen
_PLACES: Final = 32

# known: the documents that count; queries: id in the order of the log, occurrences;
# pairs: of a query and a known document, how often it was shown and clicked, and where it was seen first: at all, and
# down to the clicked place of an entry (NULL when never). An entry counts when its page, or in place of an unknown page
# the clicked document, holds the clicked document. A query of one word is none.
_QUERIES: Final = """
CREATE TABLE queries AS
SELECT row_number() OVER (ORDER BY min(number)) AS id, query, count(*) AS occurrences
FROM entries WHERE query IS NOT NULL GROUP BY query
"""
_TITLED: Final = """
CREATE TABLE known AS
SELECT document, arg_min(title, number) AS title, arg_min(coalesce(url, ''), number) AS url
FROM entries WHERE title IS NOT NULL AND document > 0 GROUP BY document
"""
_LISTED: Final = """
CREATE TABLE known AS
SELECT document, last(title ORDER BY number) AS title, last(url ORDER BY number) AS url
FROM listed WHERE document IN (SELECT document FROM entries UNION SELECT unnest(page) FROM entries)
GROUP BY document
"""
_PAIRS: Final = f"""
CREATE TABLE pairs AS
WITH pages AS (
    SELECT id, number, document AS clicked, CASE WHEN len(page) > 0 THEN page ELSE [document] END AS page
    FROM entries JOIN queries USING (query) WHERE contains(query, ' ')
), seen AS (
    SELECT id, unnest(page) AS document, generate_subscripts(page, 1) AS place, list_position(page, clicked) AS clicked,
        number * {_PLACES} AS entry
    FROM pages WHERE list_contains(page, clicked)
)
SELECT id, document, count(*) AS shown, count_if(place = clicked) AS clicked, min(entry + place) AS first_shown,
    min(entry + place) FILTER (WHERE place <= clicked) AS first_above
FROM seen SEMI JOIN known USING (document)
GROUP BY id, document
"""
_TOPICS: Final = f"""
CREATE TABLE topics AS
SELECT id, query, occurrences, 'train' AS split, CASE WHEN occurrences <= {TAIL_MOST} THEN 'tail'
    WHEN occurrences <= {TORSO_MOST} THEN 'torso' ELSE 'head' END AS query_group
FROM queries WHERE id IN (SELECT id FROM pairs WHERE clicked > 0)
"""

# The judgements of each kind.
GRADES: Final = {
    "raw": """SELECT id, document, (clicked > 0)::int AS grade, first_above AS seen FROM pairs
        WHERE first_above IS NOT NULL""",
    "dctr": f"SELECT id, document, {DCTR_CODE} AS grade, first_shown AS seen FROM pairs WHERE shown > 1",
    "dctr-docs": f"SELECT id, document, {DCTR_DOCS} AS grade, first_shown AS seen FROM pairs WHERE shown > 1",
}
_GRADES: Final = {"raw": 2, "dctr": 4, "dctr-docs": 4}  # how many
_JUDGED: Final = "({grades}) JOIN topics USING (id) WHERE id IN (SELECT id FROM ({grades}) WHERE grade > 0)"

# A line of its columns, and nothing in it quoted. A topic is spelt as the published ones are.
_LINES: Final = "(FORMAT csv, HEADER false, DELIMITER '{delimiter}', QUOTE '', ESCAPE '')"
_TOP: Final = r"""e'<top>\n\n<num> Number: ' || id || e'\n<title> ' || query ||
    e'\n\n<desc> Descrption:\n\n<narr> Narrative:\n\n</top>\n'"""


class Benchmark:
    """A DuckDB in `work`, and the files in `folder` below it. Nothing but `folder` outlives the context."""

    def __init__(self, work: Path, memory_mb: int) -> None:
        """Create the database, which may use `memory_mb`."""
        self.folder = work / "benchmark"
        limits = {"memory_limit": f"{memory_mb}MB", "temp_directory": str(work / "spill"), "threads": "1"}
        self._database = duckdb.connect(work / "log.duckdb", config={**limits, "preserve_insertion_order": "false"})
        self._database.execute(f"SET enable_progress_bar = {sys.stdout.isatty()}")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def read(self, log: Log, documents: Path | None) -> None:
        """The log's entries → queries, known documents, pairs and topics."""
        self._take("entries", ENTRIES, log.batches())
        if documents:
            self._take("listed", DOCUMENTS, listed(documents))
        say("counts impressions and clicks")
        for statement in (_QUERIES, _LISTED if documents else _TITLED, _PAIRS, _TOPICS):
            self._database.execute(statement)

    def _take(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self._database.register("arriving", schema.empty_table())
        self._database.execute(f"CREATE TABLE {name} AS FROM arriving")
        for batch in batches:
            self._database.register("arriving", pa.Table.from_batches([batch]))
            self._database.execute(f"INSERT INTO {name} FROM arriving")

    def split(self, held_out: int) -> None:
        """Hold out so many queries of each group for validation, and as many for test, preferring frequent ones.

        NonRetryableError when a group has too few.
        """
        draws = generator()
        groups = {group: self._rows(f"FROM topics WHERE query_group = '{group}' ORDER BY id") for group in GROUPS}
        fewest = min(map(len, groups.values()))
        if fewest <= 2 * held_out:
            sizes = ", ".join(f"{len(rows):,} {group}" for group, rows in groups.items())
            most = (fewest - 1) // 2
            fix = f"use --held-out {most} or less" if most > 0 else "the log is too short for this benchmark"
            raise NonRetryableError(f"--held-out {held_out:,} is too much for {sizes} queries of this log: {fix}")
        for rows in groups.values():
            chosen = choose(draws, [row[2] for row in rows], 2 * held_out)
            for split, places in (("test", chosen[::2]), ("val", chosen[1::2])):
                ids = [rows[place][0] for place in places]
                self._database.execute("UPDATE topics SET split = ? WHERE id IN (SELECT unnest(?))", [split, ids])

    def write(self, log: Log, held_out: int) -> None:
        """The files of `folder`; prints the figures beside the published ones."""
        self.folder.mkdir(mode=0o700)  # as restricted as the log
        for name in ("topics", "qrels"):
            (self.folder / name).mkdir()
        for group in GROUPS:
            for split in SPLITS:
                self._write_split(f"{group}.{split}", f"query_group = '{group}' AND split = '{split}'")
        self._copy("docs.tsv", "SELECT document, title, url FROM known ORDER BY document", r"\t")
        figures = self._figures(log)
        manifest = {
            "source": {"first_day": str(log.files[0].days[0]), "last_day": str(log.files[-1].days[-1])},
            "held_out": held_out,
            "seed": SEED,
            "left_out": dict(sorted(log.left_out.items())),
            "figures": figures,
        }
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for line in published.beside(figures):
            say(line)

    def _write_split(self, name: str, where: str) -> None:
        topics = f"FROM topics WHERE {where} ORDER BY id"
        self._copy(f"topics/topics.{name}.tsv", f"SELECT id, query {topics}", r"\t")
        self._copy(f"topics/topics.{name}.txt", f"SELECT {_TOP} {topics}", r"\x01")
        for kind, grades in GRADES.items():
            judged = f"SELECT id, 0, document, grade FROM {_JUDGED.format(grades=grades)} AND {where} ORDER BY id, seen"
            self._copy(f"qrels/qrels.{kind}.{name}.txt", judged, " ")

    def _copy(self, name: str, query: str, delimiter: str) -> None:
        path = str(self.folder / name).replace("'", "''")
        self._database.execute(f"COPY ({query}) TO '{path}' {_LINES.format(delimiter=delimiter)}")

    def _figures(self, log: Log) -> published.Figures:
        """Counts by the names of `published.FIGURES`."""
        figures = {
            "lines of the log": (log.lines,),
            "distinct queries": self._rows("SELECT count(*) FROM queries")[0],
            "documents": self._rows("SELECT count(*) FROM known")[0],
        }
        by_split = dict(self._rows("SELECT query_group || '.' || split, count(*) FROM topics GROUP BY 1"))
        names = [f"{group}.{split}" for group in reversed(GROUPS) for split in SPLITS]
        figures |= {f"topics.{name}": (by_split[name],) for name in names}
        for kind, grades in GRADES.items():
            judged = f"SELECT query_group || '.' || split, grade, count(*) FROM {_JUDGED.format(grades=grades)}"
            counts = Counter({(name, grade): count for name, grade, count in self._rows(f"{judged} GROUP BY 1, 2")})
            figures |= {f"qrels.{kind}.{name}": tuple(counts[name, g] for g in range(_GRADES[kind])) for name in names}
        return figures

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._database.execute(query).fetchall()
