"""The log's lines as the benchmark counts them: the query as published, the clicked document and the result page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from jobs.console import say
from jobs.contract import MAX_DOCUMENTS, clean, line_of, long_field, tidy
from jobs.errors import NonRetryableError
from jobs.producer.log_files import LogFile

BATCH_LINES: Final = 20_000
PROGRESS_LINES: Final = 250_000

# number: of the entry, from 0 in the order of the log; query: None if there is none;
# page: empty when it is unknown; title, url: of the clicked document.
ENTRIES: Final = pa.schema(
    {
        "number": pa.int64(),
        "query": pa.string(),
        "document": pa.int64(),
        "page": pa.list_(pa.int64()),
        "title": pa.string(),
        "url": pa.string(),
    }
)
DOCUMENTS: Final = pa.schema({"number": pa.int64(), "document": pa.int64(), "title": pa.string(), "url": pa.string()})

# What the published method removes from Keywords, in its order; AND and OR also inside a word.
_CUTS: Final = (
    (re.compile("title:"), ""),
    (re.compile(r"from:\d+"), ""),
    (re.compile(r"to:\d+"), ""),
    (re.compile(r"~\d+"), ""),
    (re.compile(r"\(NOT[^)]*\)"), ""),
    (re.compile("NOT.*"), ""),
    (re.compile("OR|AND"), ""),
    (re.compile(r"\*"), ""),
    (re.compile(r'[()“”",]'), " "),
    (re.compile(" {2,}"), " "),
)
_TEXTS: Final = ("Keywords", "Title", "Url")  # of a line that are used here
_DOCUMENT: Final = re.compile(r"[0-9]{1,18}")  # fits 64 bits


def query_of(keywords: str) -> str | None:
    """The query as a topic, in its original case; None if nothing is left, or it has a `tag:`.

    Other white space than blanks, and control characters, would break the lines of a topic: the contract tidies them.
    """
    text = tidy(keywords) or ""
    if "tag:" in text:
        return None
    for pattern, replacement in _CUTS:
        text = pattern.sub(replacement, text)
    return text.strip() or None


class Log:
    """The lines of these files, counted while they are read."""

    def __init__(self, files: Iterable[LogFile]) -> None:
        """Nothing is read yet."""
        self.files = list(files)
        self.lines = 0
        self.left_out: Counter[str] = Counter()
        """Lines that are not read, by the contract's reason."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The entries, as ENTRIES. Raises LogFileError when a file cannot be read."""
        return _batches(self._rows(), ENTRIES)

    def _rows(self) -> Iterator[tuple[str | None, int, list[int], str | None, str | None]]:
        said = 0
        for file in self.files:
            for _, value in file.lines():
                self.lines += 1
                line = line_of(value)
                if isinstance(line, str):
                    self.left_out[line] += 1
                elif reason := long_field(line, _TEXTS):
                    self.left_out[reason] += 1
                else:
                    page = line.Documents if len(line.Documents) <= MAX_DOCUMENTS else []
                    yield query_of(line.Keywords), line.DocumentId, page, clean(line.Title), clean(line.Url)
            if self.lines - said >= PROGRESS_LINES or file is self.files[-1]:
                said = self.lines
                say(f"read {said:,} lines, until {file.days[-1]}")


def listed(path: Path) -> Iterator[pa.RecordBatch]:
    """The documents of a file as TripClick's allarticles.txt (id, title, url; tabs between), as DOCUMENTS.

    As published, a line without id, title or url is skipped: the heading, and what a line end within a
    title leaves. Raises NonRetryableError when the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from _batches((row for line in file if (row := _document(line.split("\t")))), DOCUMENTS)
    except OSError as error:
        raise NonRetryableError(f"--documents {path} cannot be read ({error.strerror}): correct the path") from error


def _document(columns: list[str]) -> tuple[int, str, str] | None:
    if len(columns) < 3 or not _DOCUMENT.fullmatch(columns[0]):
        return None
    title, url = clean(columns[1]), clean(columns[2])
    return (int(columns[0]), title or "", url) if url else None


def _batches(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of this schema, whose first column is their number."""
    numbered = ((number, *row) for number, row in enumerate(rows))
    while batch := list(islice(numbered, BATCH_LINES)):
        columns = zip(*batch, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.record_batch(arrays, schema=schema)
