"""`python -m tests.benchmark_readers FOLDER`: what ir_datasets, ir_measures and pytrec_eval read of one, in JSON.

A process of its own: NumPy, which two of them import and none of these readers uses, is an empty module here. So the
tests get along without 60 MB that would be installed for nothing.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import IO, Any


class OnDisk:
    """A file as ir_datasets wants to have it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def path(self, force: bool = True) -> str:  # noqa: ARG002 (ir_datasets' signature)
        """Where it is."""
        return str(self._path)

    def stream(self) -> AbstractContextManager[IO[bytes]]:
        """The file, opened to read its bytes."""
        return self._path.open("rb")


def main(folder: Path) -> dict[str, Any]:
    """By file: topics as [id, text], judgements as [query, document, grade], documents as [id, title, url]."""
    import ir_measures
    import pytrec_eval
    from ir_datasets.datasets.tripclick import QTYPE_MAP, TripClickPartialDoc
    from ir_datasets.formats import GenericQuery, TrecQrels, TrecQueries, TsvDocs, TsvQueries

    documents = TsvDocs(OnDisk(folder / "docs.tsv"), doc_cls=TripClickPartialDoc, namespace="tripclick", lang="en")
    read: dict[str, Any] = {"docs.tsv": list(documents.docs_iter())}
    for path in sorted((folder / "topics").iterdir()):
        words = {"namespace": "tripclick", "lang": "en"}
        is_plain = path.suffix == ".tsv"
        trec = {"qtype": GenericQuery, "qtype_map": QTYPE_MAP}
        topics = TsvQueries(OnDisk(path), **words) if is_plain else TrecQueries(OnDisk(path), **trec, **words)
        read[path.name] = [(query.query_id, query.text) for query in topics.queries_iter()]
    for path in sorted((folder / "qrels").iterdir()):
        qrels = [(q.query_id, q.doc_id, q.relevance) for q in TrecQrels(OnDisk(path), {}).qrels_iter()]
        assert qrels == [(q.query_id, q.doc_id, q.relevance) for q in ir_measures.read_trec_qrels(str(path))]
        with path.open(encoding="utf-8") as file:
            by_query = pytrec_eval.parse_qrel(file)
        assert qrels == [(query, document, grade) for query, its in by_query.items() for document, grade in its.items()]
        ideal = {query: {document: float(grade) for document, grade in its.items()} for query, its in by_query.items()}
        scores = pytrec_eval.RelevanceEvaluator(by_query, {"ndcg_cut.10"}).evaluate(ideal)
        assert {score["ndcg_cut_10"] for score in scores.values()} <= {1.0}
        read[path.name] = qrels
    return read


if __name__ == "__main__":
    sys.modules["numpy"] = ModuleType("numpy")
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201
