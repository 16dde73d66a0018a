"""`new`: a pipeline file that passes the check, to start from."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline_config.errors import CommandError
from pipeline_config.project import Project
from pipeline_config.schema import schema_of

TEMPLATE = """\
# yaml-language-server: $schema={up}schemas/pipeline.schema.json
dag_id: {dag_id}
description: What this DAG is for, in one line
schedule: null      # or a cron expression in UTC
tags: [tripclick]
tasks:
  - task_id: start
    operator: EmptyOperator
  # What it does comes here; `python -m pipeline_config explain KEY` says what a key is for.
  - task_id: end
    operator: EmptyOperator
    dependencies: [start]
"""


def new(project: Project, dag_id: str, folder: str) -> Path:
    """Write pipelines/`folder`/`dag_id`.yaml and return its path. Raises CommandError."""
    pattern = schema_of("pipeline")["properties"]["dag_id"]["pattern"]
    if dag_id.endswith(".yaml"):
        raise CommandError(f"{dag_id!r}: write the dag_id alone, without .yaml")
    if not re.fullmatch(pattern, dag_id):
        raise CommandError(f"{dag_id!r} cannot be a dag_id: it has to have the form {pattern}")
    for document in project.pipelines:
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
    up = "../" * len(path.relative_to(project.root).parent.parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(dag_id=dag_id, up=up))
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return path
