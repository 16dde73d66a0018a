"""The file that Airflow parses: pipelines/**/*.yaml → check → compile → dag-factory → DAGs.

It never raises, since an exception here would make Airflow drop every DAG. What is wrong stands in PROBLEMS, and
dag_factory_errors.py raises it, so that it is seen beside the DAGs that are right.
"""

from __future__ import annotations

import logging
import shlex
import traceback
from dataclasses import replace
from typing import Any

from airflow.sdk import DAG, get_parsing_context
from dagfactory.dagbuilder import DagBuilder

from pipeline_config.airflow_objects import as_json, deadlines, with_objects
from pipeline_config.cache import load_checked
from pipeline_config.compiler import compile_pipeline
from pipeline_config.documentation import markdown
from pipeline_config.errors import CommandError
from pipeline_config.guard import in_words
from pipeline_config.project import ROOT, Environment, Project, active_environment
from pipeline_config.reader import Document, KeyPath

log = logging.getLogger(__name__)
PROBLEMS: list[str] = []


def build(project: Project, document: Document, environment: Environment) -> DAG:
    """One pipeline as a DAG."""
    ((dag_id, config),) = compile_pipeline(project, document.data, environment).items()
    # load_yaml_dags would do the same, and take twice as long for a copy of its own dialect on the DAG's page.
    dag: DAG = DagBuilder(dag_id, with_objects(config), default_config={}, yml_dag="").build()["dag"]
    dag.doc_md = markdown(document)
    dag.deadline = deadlines(config)  # of which dag-factory knows nothing
    # One word for the shell, or for JSON one value, of whatever they are given.
    dag.user_defined_filters = {"shell_quote": shlex.quote, "as_json": as_json}
    return dag


def load() -> dict[str, DAG]:
    """Every DAG that is right; when Airflow starts a task, only that task's."""
    project, found = load_checked(ROOT)
    problems = [problem for problem in found if problem.severity == "error"]
    PROBLEMS.extend(str(problem) for problem in problems)
    try:
        needed = [project.catalog, project.defaults, *project.chain(active_environment())]
    except CommandError as error:
        PROBLEMS.append(f"{error}; set PIPELINE_ENVIRONMENT to one of them")
        return {}
    if any(document.problems for document in needed):
        return {}
    environment = project.environment(active_environment())
    wanted = get_parsing_context().dag_id
    broken = {problem.file for problem in problems}
    dags: dict[str, DAG] = {}
    for document in project.pipelines:
        if document.file in broken or (wanted and document.data["dag_id"] != wanted):
            continue
        try:
            dags[document.data["dag_id"]] = build(project, document, environment)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (one DAG that cannot be built must not take the others away)
            PROBLEMS.append(_cannot_be_built(project, document, environment, error))
    return dags


def _cannot_be_built(project: Project, document: Document, environment: Environment, error: BaseException) -> str:
    """The problem at the DAG's key without which it can be built, or at the first task that cannot be built alone."""

    def fails(data: dict[str, Any]) -> BaseException | None:
        try:
            build(project, replace(document, data=data), environment)
        except KeyboardInterrupt:
            raise
        except BaseException as own:  # noqa: BLE001 (an operator may refuse its arguments in any way)
            return own
        return None

    bare = {"dag_id": document.data["dag_id"], "description": "", "schedule": None}
    path: KeyPath = ()
    for key in document.data.keys() - {"dag_id", "tasks"}:
        others = {name: value for name, value in document.data.items() if name != key}
        if not fails({**bare, **others}):
            path = (key,)
            break
    else:
        for index, task in enumerate(document.data["tasks"]):
            alone = {key: value for key, value in task.items() if key not in {"dependencies", "group"}}
            if own := fails({**bare, "tasks": [alone]}):
                path, error = ("tasks", index), own
                break
    log.error("%s cannot be built", document.file, exc_info=error)  # people read one line; who wants more finds it here
    return str(document.problem(path, f"cannot be built: {in_words(error)}", at_value=True))


try:
    globals().update(load())
except KeyboardInterrupt:
    raise
except BaseException:  # noqa: BLE001 (see the module's docstring)
    PROBLEMS.append(f"pipelines: cannot be loaded\n{traceback.format_exc()}")
