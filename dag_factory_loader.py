"""The file that Airflow parses: pipelines/**/*.yaml → check → compile → dag-factory → DAGs.

It never raises, since an exception here would make Airflow drop every DAG. What is wrong stands in PROBLEMS, and
dag_factory_errors.py raises it, so that it is seen beside the DAGs that are right.
"""

from __future__ import annotations

import os
import shlex
import traceback
from typing import Any

from airflow.sdk import DAG, Param, get_parsing_context
from dagfactory import load_yaml_dags

from pipeline_config.checks import check
from pipeline_config.compiler import compile_pipeline
from pipeline_config.documentation import markdown
from pipeline_config.project import Environment, Project, load_project
from pipeline_config.reader import Document

PROBLEMS: list[str] = []


def build(project: Project, document: Document, environment: Environment) -> DAG:
    """One pipeline as a DAG."""
    config = compile_pipeline(project, document.data, environment)
    dag_id = document.data["dag_id"]
    config[dag_id]["params"] = {name: _param(schema) for name, schema in config[dag_id]["params"].items()}
    built: dict[str, Any] = {}
    load_yaml_dags(globals_dict=built, config_dict=config)
    dag: DAG = built[dag_id]
    dag.doc_md = markdown(document)  # dag-factory would show its own dialect here
    dag.user_defined_filters = {"shell_quote": shlex.quote}  # makes one word for the shell of whatever it is given
    return dag


def _param(schema: dict[str, Any]) -> Param:
    return Param(schema["default"], **{key: value for key, value in schema.items() if key != "default"})


def load() -> dict[str, DAG]:
    """Every DAG that is right; when Airflow starts a task, only that task's."""
    project = load_project()
    wanted = get_parsing_context().dag_id
    problems = [] if wanted else check(project)
    PROBLEMS.extend(str(problem) for problem in problems)
    broken = {problem.file for problem in problems}
    if broken.intersection(document.file for document in project.shared):
        return {}
    environment = project.environment(os.environ.get("PIPELINE_ENVIRONMENT", "production"))
    dags: dict[str, DAG] = {}
    for document in project.pipelines:
        if document.file in broken or (wanted and document.data["dag_id"] != wanted):
            continue
        try:
            dags[document.data["dag_id"]] = build(project, document, environment)
        except Exception:  # noqa: BLE001 (one DAG that cannot be built must not take the others away)
            PROBLEMS.append(f"{document.file}:1:1: cannot be built\n{traceback.format_exc()}")
    return dags


try:
    globals().update(load())
except Exception:  # noqa: BLE001 (see the module's docstring)
    PROBLEMS.append(f"pipelines: cannot be loaded\n{traceback.format_exc()}")
