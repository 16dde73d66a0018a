"""`new`: a pipeline file that passes the check, to start from; one that runs a job; or a job itself."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from pipeline_config import yaml_text
from pipeline_config.errors import CommandError
from pipeline_config.for_job import pipeline_for
from pipeline_config.project import Project
from pipeline_config.schema import schema_of

MODELINE = "# yaml-language-server: $schema={up}schemas/generated/pipelines/{dag_id}.schema.json\n"
EMPTY = """\
dag_id: {dag_id}
description: What this DAG is for, in one line
schedule: {schedule}
tags: [tripclick]
tasks:
  - task_id: start
    operator: EmptyOperator
  # What it does comes here; `python -m pipeline_config explain KEY` says what a key is for.
  - task_id: end
    operator: EmptyOperator
    dependencies: [start]
"""
JOB = '''\
"""Curated clicks → what this job is for, in one line."""

from __future__ import annotations

import argparse
import sys

from jobs.cli import Data, flow, main
from jobs.console import say
from jobs.spark import tables
from jobs.spark.session import session


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="{name}", description=__doc__)
    result.add_argument("--curated-path", required=True, help="root folder of the curated stream")
    flow(result, reads=[Data("lake", tables.table_path("{{curated-path}}", tables.CLICKS))], writes=[])
    return result


def run(options: argparse.Namespace) -> None:
    """Read, transform, write."""
    spark = session("{name}")
    clicks = spark.read.format("delta").load(tables.table_path(options.curated_path, tables.CLICKS))
    say(f"{{clicks.count():,}} clicks")


if __name__ == "__main__":
    sys.exit(main(parser(), run))
'''


def new(project: Project, dag_id: str, folder: str, schedule: str | None = None, job: str | None = None) -> Path:
    """Write pipelines/`folder`/`dag_id`.yaml, which runs `job` if there is one, and return its path.

    Raises CommandError.
    """
    path = place(project, dag_id, folder)
    if job is None:
        text = EMPTY.format(dag_id=dag_id, schedule=yaml_text.inline(schedule))
    else:
        text = "\n".join(yaml_text.mapping(pipeline_for(project, job, dag_id, schedule))) + "\n"
    return write(path, modeline(project, path) + text)


def place(project: Project, dag_id: str, folder: str) -> Path:
    """Where a new pipeline of that name belongs; raises CommandError when there can be none."""
    pattern = schema_of("pipeline")["properties"]["dag_id"]["pattern"]
    if dag_id.endswith(".yaml"):
        raise CommandError(f"{dag_id!r}: write the dag_id alone, without .yaml")
    if not re.fullmatch(pattern, dag_id):
        raise CommandError(f"{dag_id!r} cannot be a dag_id: it has to have the form {pattern}")
    for document in project.pipeline_files:
        if Path(document.file).stem == dag_id:
            raise CommandError(f"there is a DAG {dag_id} already: {document.file}")
    pipelines = project.root / "pipelines"
    path = pipelines / folder / f"{dag_id}.yaml"
    if pipelines.resolve() not in path.resolve().parents:
        raise CommandError(f"--folder {folder}: it is outside of {pipelines}")
    if path.parent == pipelines / "environments":
        raise CommandError(f"--folder {folder}: there are environments in it, and no pipelines")
    if any(part.startswith(".") for part in path.relative_to(pipelines).parts):
        raise CommandError(f"--folder {folder}: hidden folders are not read")
    return path


def modeline(project: Project, path: Path) -> str:
    """The first line of a pipeline, which tells editors its schema."""
    return MODELINE.format(up="../" * len(path.relative_to(project.root).parent.parts), dag_id=path.stem)


def new_job(root: Path, name: str) -> Path:
    """Write jobs/spark/`name`.py, a job that counts the curated clicks, and return its path. Raises CommandError."""
    pattern = schema_of("pipeline")["properties"]["tasks"]["items"]["properties"]["job"]["pattern"]
    if not re.fullmatch(pattern, name) or keyword.iskeyword(name):
        raise CommandError(f"{name!r} cannot be a job's name: it has to have the form {pattern}")
    return write(root / "jobs" / "spark" / f"{name}.py", JOB.format(name=name))


def write(path: Path, text: str) -> Path:
    """Write a file that is not there yet, and return its path; raises CommandError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CommandError(f"{error.filename}: is there already") from error
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return path
