"""`plan`: what the working tree changes against a git revision, in words, one line per change.

Both sides are compiled first, so a change of defaults.yaml or of an environment is shown at each DAG that it really
changes. Today's compiler reads the old files too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline_config import running_airflow
from pipeline_config.checks import check
from pipeline_config.checks.context import name_of
from pipeline_config.differences import Difference, compared, differences, text, view
from pipeline_config.errors import CommandError
from pipeline_config.model import Environment, Pipeline, Place
from pipeline_config.problem import Problem, plural
from pipeline_config.project import Project, active_environment, load_project
from pipeline_config.reader import Document
from pipeline_config.revision import files_at

NOTHING, PROBLEM, CHANGES = 0, 1, 2


def run(root: Path, against: str, environment: str | None) -> int:
    """Print the changes, or one line. The exit code is 0: nothing changes, 2: something does, 1: unknown."""
    try:
        with_airflow = against == running_airflow.NAME
        lines = _against_airflow(root, environment) if with_airflow else plan(root, against, environment)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return PROBLEM
    print("\n".join(lines) or f"nothing changes against {against}")  # noqa: T201
    return CHANGES if lines else NOTHING


def plan(root: Path, against: str, environment: str | None = None) -> list[str]:
    """`~ DAG: schedule "0 15 * * *" → "0 16 * * *"` and so on, by DAG; then environments, then the catalog.

    Without an `environment` all are compared, and a line that does not hold in each names those in which it does.
    Raises CommandError: an unknown revision or environment, or a side that cannot be read.
    """
    new = _right(root)
    with TemporaryDirectory() as folder:
        files_at(root, against, Path(folder))
        old = load_project(Path(folder), with_schema=False)
        broken = [found for found in old.problems if (old.root / found.file).exists()]
    _refuse(broken, f"the files at {against}", "compare with a revision whose files are valid: --against REV")
    names = list({**old.environment_files, **new.environment_files})
    if environment is not None and environment not in names:
        new.environment(environment)  # says which there are
    return list(_lines(old, new, names if environment is None else [environment]))


def _against_airflow(root: Path, environment: str | None) -> list[str]:
    """What updating a running Airflow to the files would change; raises CommandError."""
    new = _right(root)
    here = new.environment(environment or active_environment())
    return list(running_airflow.lines(new, here, running_airflow.client()))


def _right(root: Path) -> Project:
    project = load_project(root)
    _refuse([found for found in check(project) if found.severity == "error"], "the files", "fix them first")
    return project


def _refuse(problems: list[Problem], what: str, advice: str) -> None:
    if problems:
        raise CommandError(f"{what} have {plural(len(problems), 'problem')}, {advice}; the first is {problems[0]}")


def _lines(old: Project, new: Project, names: list[str]) -> Iterator[str]:
    both = [name for name in names if name in old.environment_files and name in new.environment_files]
    before, after = _pipelines(old), _pipelines(new)
    sides = [(_environment(old, name), _environment(new, name)) for name in both] or [(_NO_ENVIRONMENT,) * 2]
    old_views, new_views = (
        {dag_id: [view(project, document, side) for side in at] for dag_id, document in documents.items()}
        for project, documents, at in zip((old, new), (before, after), zip(*sides, strict=True), strict=True)
    )
    removed = {dag_id: views for dag_id, views in old_views.items() if dag_id not in after}
    for dag_id in sorted({*before, *after}):
        if dag_id in removed:
            yield f"- {dag_id}: the DAG is removed; its past runs stay in Airflow"
        elif dag_id in before:
            found = _by_place(both, map(compared, old_views[dag_id], new_views[dag_id]))
            for (sign, what), places in found.items():
                where = f" (in {', '.join(places)})" if len(places) < len(both) else ""
                yield f"{sign} {dag_id}: {what}{where}"
        else:
            former = next((name for name, views in removed.items() if views == new_views[dag_id]), None)
            yield f"+ {dag_id}: {_new_dag(new.pipeline(dag_id), former)}"
    yield from _environments(old, new, names)
    yield from (f"{sign} catalog: {what}" for sign, what in differences(_catalog(old), _catalog(new)))


_NO_ENVIRONMENT = Environment.of(Place(Document("none")), {})


def _pipelines(project: Project) -> dict[str, Document]:
    """The pipelines' files by dag_id; one of an older dialect may have none."""
    return {name_of(document): document for document in project.pipeline_files if document.data}


def _environment(project: Project, name: str) -> Environment | None:
    """The environment; nothing if it is missing, extends itself or a missing one: the old side is unchecked."""
    try:
        return project.environment(name)
    except (CommandError, AttributeError):
        return None


def _by_place(places: list[str], found: Iterable[Iterable[Difference]]) -> dict[Difference, list[str]]:
    """Each difference with the places where it is; without places each has none."""
    result: dict[Difference, list[str]] = {}
    for index, some in enumerate(found):
        for difference in some:
            result.setdefault(difference, []).extend(places[index : index + 1])
    return result


def _new_dag(pipeline: Pipeline, former: str | None) -> str:
    if former:
        return f"a new DAG to Airflow, {former} under a new name"
    tasks = ", ".join(task.task_id for task in pipeline.tasks)
    return f"a new DAG, schedule {text(pipeline.schedule)}, tasks {tasks}"


def _environments(old: Project, new: Project, names: list[str]) -> Iterator[str]:
    """The changes of variables' values and connections' addresses."""
    both = []
    for name in names:
        if name not in old.environment_files:
            yield f"+ environment {name}: new"
        elif name not in new.environment_files:
            yield f"- environment {name}: removed"
        else:
            both.append(name)
    found = _by_place(both, (differences(_addresses(old, name), _addresses(new, name)) for name in both))
    for (sign, what), places in found.items():
        yield f"{sign} environment {', '.join(places)}: {what}"


def _addresses(project: Project, name: str) -> dict[str, Any]:
    try:
        data = project.merged(name)
    except CommandError:
        return {}
    return {kind: data[kind] for kind in ("variables", "connections") if isinstance(data.get(kind), dict)}


def _catalog(project: Project) -> dict[str, Any]:
    """The catalog without its descriptions."""
    kinds = {kind: entries for kind, entries in (project.catalog_file.data or {}).items() if isinstance(entries, dict)}
    return {kind: {name: _without_words(entry) for name, entry in entries.items()} for kind, entries in kinds.items()}


def _without_words(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {key: value for key, value in entry.items() if key not in ("description", "example")}
