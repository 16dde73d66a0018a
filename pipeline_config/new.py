"""`new`: a new pipeline that passes the check, one that runs a given job, or a new job."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from pipeline_config import yaml_text
from pipeline_config.checks import dag
from pipeline_config.checks.context import Context, Index
from pipeline_config.errors import CommandError
from pipeline_config.for_job import pipeline_for, shared_tags
from pipeline_config.model import JOB, Pipeline, Place
from pipeline_config.project import SHARED_FILES, SUFFIX, Project, active_environment
from pipeline_config.reader import Document
from pipeline_config.schema import schema_of

MODELINE = "# yaml-language-server: $schema={up}schemas/generated/pipelines/{dag_id}.schema.json\n"
EMPTY = """\
dag_id: {dag_id}
description: What this DAG is for, in one line
schedule: {schedule}
{tags}tasks:
  - task_id: start
    operator: EmptyOperator
  # Put the work here; `explain KEY` says what a key is for.
  - task_id: end
    operator: EmptyOperator
    dependencies: [start]
"""
TEMPLATE = "new_job.template"  # beside a project's own jobs; without one, that of this package


def new(project: Project, dag_id: str, folder: str, schedule: str | None = None, job: str | None = None) -> Path:
    """Write pipelines/`folder`/`dag_id`.yaml, which runs `job` if there is one, and return its path.

    Raises CommandError.
    """
    needed = (*sorted(SHARED_FILES), f"environments/{active_environment()}{SUFFIX}")
    missing = [f"pipelines/{name}" for name in needed if not (project.root / "pipelines" / name).exists()]
    if missing:
        raise CommandError(f"{project.root} has no {', '.join(missing)}: write what all pipelines share first")
    path = place(project, dag_id, folder)
    if schedule is not None:
        _check_schedule(project, schedule)
    if job is None:
        shared = shared_tags(project)
        tags = f"tags: {yaml_text.inline(shared)}\n" if shared else ""
        text = EMPTY.format(dag_id=dag_id, schedule=yaml_text.inline(schedule), tags=tags)
    else:
        text = "\n".join(yaml_text.mapping(pipeline_for(project, job, dag_id, schedule))) + "\n"
    return write(path, modeline(project, path) + text)


def _check_schedule(project: Project, schedule: str) -> None:
    keys = {"dag_id": "", "description": "", "schedule": schedule, "tasks": []}
    for problem in dag.schedule(Context(project, Pipeline.of(Place(Document("")), keys), Index())):
        if problem.severity == "error":
            raise CommandError(f"--schedule: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))


def place(project: Project, dag_id: str, folder: str) -> Path:
    """Where a new pipeline of that name belongs; raises CommandError if there can be none."""
    pattern = schema_of("pipeline")["properties"]["dag_id"]["pattern"]
    if dag_id.endswith(".yaml"):
        raise CommandError(f"{dag_id!r}: write the dag_id alone, without .yaml")
    if not re.fullmatch(pattern, dag_id):
        raise CommandError(f"{dag_id!r} cannot be a dag_id: it must match {pattern}")
    for document in project.pipeline_files:
        if Path(document.file).stem == dag_id:
            raise CommandError(f"DAG {dag_id} already exists: {document.file}")
    pipelines = project.root / "pipelines"
    path = pipelines / folder / f"{dag_id}.yaml"
    if pipelines.resolve() not in path.resolve().parents:
        raise CommandError(f"--folder {folder}: it is outside of {pipelines}")
    if path.parent == pipelines / "environments":
        raise CommandError(f"--folder {folder}: it is for environments, not for pipelines")
    if any(part.startswith(".") for part in path.relative_to(pipelines).parts):
        raise CommandError(f"--folder {folder}: hidden folders are not read")
    return path


def modeline(project: Project, path: Path) -> str:
    """The first line of a pipeline, which tells editors its schema."""
    return MODELINE.format(up="../" * len(path.relative_to(project.root).parent.parts), dag_id=path.stem)


def new_job(project: Project, name: str) -> Path:
    """Write a job of that name beside the others, and return its path. Raises CommandError."""
    pattern = schema_of("pipeline")["properties"]["tasks"]["items"]["properties"]["job"]["pattern"]
    if not re.fullmatch(pattern, name) or keyword.iskeyword(name):
        raise CommandError(f"{name!r} cannot be a job's name: it must match {pattern}")
    folder = project.root / _jobs(project)
    own = folder / TEMPLATE
    template = own if own.exists() else Path(__file__).with_name(TEMPLATE)
    return write(folder / f"{name}.py", template.read_text(encoding="utf-8").replace(JOB, name))


def _jobs(project: Project) -> str:
    """The folder in which each job is a file of its own, of the first command that has one."""
    if project.defaults_file.problems:
        raise CommandError(f"defaults.yaml defines where jobs are: {project.defaults_file.problems[0]}")
    ending = f".{JOB}"
    modules = [command.module for command in project.defaults.commands.values()]
    packages = [module.removesuffix(ending) for module in modules if module.endswith(ending)]
    if not packages:
        raise CommandError(f"in defaults.yaml no command's module ends in {ending}, where each job is a file")
    return packages[0].replace(".", "/")


def write(path: Path, text: str) -> Path:
    """Write a new file and return its path; raises CommandError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CommandError(f"{error.filename}: already exists") from error
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return path
