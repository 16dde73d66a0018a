"""Broken copies of what pipelines share: catalog, defaults, environments, and the jobs. Airflow is the judge.

Wrong is what the check or Airflow refuses; a fault is a DAG that goes though its own files are right.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from pipeline_config import parsers
from pipeline_config.checks import check
from pipeline_config.project import ROOT, Project, load_project
from tests.mutations.mutate import KINDS, Code, Source, mutant
from tests.mutations.run import Airflow, Outcome, no_hang
from tests.mutations.verdict import Verdict

JOBS = "jobs/spark"


def run(folder: Path, seed: int, count: int, airflow: Airflow) -> Iterator[Outcome]:
    """Break the files `count` times; `folder` takes a copy of them."""
    for name in ("pipelines", "jobs"):
        shutil.copytree(ROOT / name, folder / name)
    project = load_project(folder)
    users = _users(project)
    sources = {document.file: Source(document.text) for document in project.shared}
    sources |= {file: Code((folder / file).read_text(encoding="utf-8")) for file in users}
    random = Random(seed)  # noqa: S311 (to be repeated, not to be secret)
    with _jobs_of(folder):
        for number in range(count):
            file = random.choice(list(sources))
            kind = list(KINDS)[number % len(KINDS)]
            yield _outcome(project, file, kind, mutant(sources[file], kind, random), users.get(file, set()), airflow)


def _users(project: Project) -> dict[str, set[str]]:
    """The jobs by their files, each with the DAGs that run it."""
    users: dict[str, set[str]] = {}
    for pipeline in project.pipelines:
        for task in pipeline.tasks:
            if task.command == "spark_submit":
                users.setdefault(f"{JOBS}/{task.job}.py", set()).add(pipeline.dag_id)
    return users


class _jobs_of:  # noqa: N801 (a context)
    """While it lasts, the Spark jobs are those of a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / JOBS)

    def __enter__(self) -> None:
        self.before = sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # a file of the same size and second would be taken for the one before
        importlib.import_module("jobs.spark").__path__.insert(0, self.path)

    def __exit__(self, *_: object) -> None:
        sys.dont_write_bytecode = self.before
        importlib.import_module("jobs.spark").__path__.remove(self.path)
        _forget()


def _forget() -> None:
    """The next question reads the jobs again."""
    parsers.job_parser.cache_clear()
    for name in [name for name in sys.modules if name.startswith("jobs.spark.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _outcome(project: Project, file: str, kind: str, content: bytes, users: set[str], airflow: Airflow) -> Outcome:
    path = project.root / file
    original = path.read_bytes()
    path.write_bytes(content)
    outcome = Outcome(kind, file, Verdict.WRONG, [])
    _forget()
    try:
        with no_hang(outcome):
            changed = load_project(project.root)
            outcome.problems = check(changed)
        if not outcome.faults:
            everyone = {pipeline.dag_id for pipeline in project.pipelines}
            needs_it = file.startswith("pipelines/") and file not in _of_others(project)
            outcome.faults = airflow.losses(changed, outcome, users or (everyone if needs_it else set()))
            if not outcome.caught and not outcome.faults:
                outcome.verdict = Verdict.FREE
    finally:
        path.write_bytes(original)
    return outcome


def _of_others(project: Project) -> set[str]:
    """The files that production does not need."""
    needed = {document.file for document in project.chain("production")}
    return {document.file for document in project.environment_files.values()} - needed
