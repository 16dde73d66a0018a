"""Holds broken copies of the nine pipelines against the check and the loader."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from pipeline_config import problem
from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import ROOT, Project, load_project
from pipeline_config.reader import Document, read
from pipeline_config.schema import check_schema
from tests.airflow_environment import airflow_environment
from tests.mutations.mutate import KINDS, Source, mutant
from tests.mutations.verdict import Difference, Verdict, judge

HANG_SECONDS = 1
LINE_ENDS = "\r\n|[\n\r\x85\u2028\u2029]"  # as YAML has them; what is not UTF-8 is not YAML yet


@dataclass
class Outcome:
    """One broken file: how it was made, what it means, what was said of it, and what went wrong with the check."""

    kind: str
    file: str
    verdict: Verdict
    differences: list[Difference]
    problems: list[Problem] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def caught(self) -> bool:
        """Whether the check keeps it away from Airflow."""
        return any(found.severity == "error" for found in self.problems)


class _HangError(KeyboardInterrupt):
    """What a person would do; nothing else passes each guard of the check."""


@contextmanager
def no_hang(outcome: Outcome) -> Iterator[None]:
    """What is raised, and what takes over HANG_SECONDS of this process's own time, is a fault of the outcome."""

    def stop(_: int, __: FrameType | None) -> None:
        raise _HangError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    except _HangError:
        outcome.faults.append(f"takes over {HANG_SECONDS} s")
    except Exception:  # noqa: BLE001 (that it raises is what is looked for)
        outcome.faults.append(traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Airflow:
    """The loader, in a process with Airflow; it gets each file that passes, and every n-th of the others."""

    def __init__(self, home: Path, every: int) -> None:
        os.environ |= airflow_environment(home, ROOT, "production")
        sys.path.insert(0, str(ROOT))
        from pipeline_config import loader

        self.loader: Any = loader
        self.every = every
        self.number = 0

    def wants(self, outcome: Outcome) -> bool:
        """Whether the loader is to be given this one."""
        self.number += 1
        return not outcome.faults and (self.number % self.every == 0 or not outcome.caught)

    def faults(self, project: Project, outcome: Outcome) -> list[str]:
        """What Airflow would see and the check did not."""
        dags, problems = loaded = self.loader.Loaded({}, [])
        try:
            self.loader.load_into(loaded, project, outcome.problems)
        except Exception:  # noqa: BLE001 (that it raises is what is looked for)
            return [f"the loader raises: {traceback.format_exc()}"]
        broken = {found.file for found in outcome.problems if found.severity == "error"}
        left = {pipeline.dag_id for pipeline in project.pipelines if pipeline.file not in broken}
        if dags.keys() != left:
            return [f"cannot be built: {sorted(left ^ dags.keys())}: {problems[-1:]}"]
        return [fault for dag in dags.values() for fault in self._refusal(dag)]

    def losses(self, project: Project, outcome: Outcome, may_go: set[str]) -> list[str]:
        """What goes although the check lets the file through, or though only the DAGs `may_go` need that file."""
        if not outcome.caught:
            return self.faults(project, outcome)
        dags, problems = loaded = self.loader.Loaded({}, [])
        self.loader.load_into(loaded, project, outcome.problems)
        everyone = {pipeline.dag_id for pipeline in project.pipelines}
        lost = everyone - may_go - dags.keys()
        return [f"takes away {sorted(lost)}: {problems[-1:]}"] if lost else []

    def _refusal(self, dag: Any) -> list[str]:
        """Why Airflow's DAG processor, or the scheduler that reads what it has written, refuses a DAG."""
        from airflow.serialization.serialized_objects import DagSerialization

        try:
            dag.validate()
            dag.check_cycle()
            written = json.dumps(DagSerialization.to_dict(dag))
            DagSerialization.from_dict(json.loads(written)).timetable.validate()
        except Exception as error:  # noqa: BLE001 (Airflow may refuse it in any way)
            return [f"{dag.dag_id} is refused: {type(error).__name__}: {error}"]
        return []


def run(folder: Path, seed: int, count: int, airflow: Airflow | None = None) -> Iterator[Outcome]:
    """Break the files `count` times; `folder` takes a copy of them."""
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    project = load_project(folder)
    sources = [(document, Source(document.text)) for document in project.pipeline_files]
    random = Random(seed)  # noqa: S311 (to be repeated, not to be secret)
    for number in range(count):
        document, source = random.choice(sources)
        kind = list(KINDS)[number % len(KINDS)]
        yield _outcome(project, document, kind, mutant(source, kind, random), airflow)


def _outcome(project: Project, original: Document, kind: str, content: bytes, airflow: Airflow | None) -> Outcome:
    path = project.root / original.file
    path.write_bytes(content)
    outcome = Outcome(kind, original.file, Verdict.WRONG, [])
    try:
        with no_hang(outcome):
            document = read(path, project.root)
            document.problems.extend(check_schema(document, "pipeline"))
            pipelines = [document if other is original else other for other in project.pipeline_files]
            changed = replace(project, pipeline_files=pipelines)
            outcome.problems = check(changed)
            problem.as_json(outcome.problems)
            for printed in (problem.as_github, problem.as_text):
                printed(outcome.problems, project.root)
        if not outcome.faults:
            outcome.verdict, outcome.differences = judge(project, original.data, document.data)
            texts = {other.file: other.text for other in project.files}
            texts[original.file] = content.decode(errors="replace")
            outcome.faults += [fault for found in outcome.problems for fault in _misplaced(found, texts, original.text)]
            if airflow and airflow.wants(outcome):
                outcome.faults += airflow.faults(changed, outcome)
    finally:
        path.write_text(original.text, encoding="utf-8")
    return outcome


def _misplaced(found: Problem, texts: dict[str, str], original: str) -> list[str]:
    """Why the place of a problem is none, or not the place."""
    text = texts.get(found.file, "")
    lines = re.split("\n" if "\ufffd" in text else LINE_ENDS, text)
    if not 1 <= found.line <= len(lines):
        return [f"no such line: {found}"]
    if not 1 <= found.column <= len(lines[found.line - 1]) + 1:
        return [f"no such column: {found}"]
    if found.line == 1 and any(lines[1:]) and original.startswith(f"{lines[0]}\n"):
        return [f"not its place, the first line is as it was: {found}"]
    return []
