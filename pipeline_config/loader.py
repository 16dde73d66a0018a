"""What a file that Airflow parses takes its DAGs from: pipelines/**/*.yaml → check → compile → dag-factory → DAGs.

    from pipeline_config.loader import load
    globals().update(load(__file__).dags)  # for Airflow, which looks for both words: DAG and Airflow

`load` never raises, since an exception would make Airflow drop every DAG of that file. A second file raises what it
found, so that people see it and the valid DAGs stay: `raise_problems(load(__file__).problems)`.
"""

from __future__ import annotations

import gc
import logging
import re
import shlex
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from airflow.sdk import DAG, get_parsing_context
from dagfactory.dagbuilder import DagBuilder

from pipeline_config.airflow_objects import as_json, deadlines, with_objects
from pipeline_config.cache import load_checked
from pipeline_config.compiler import compile_pipeline
from pipeline_config.documentation import markdown
from pipeline_config.errors import CommandError
from pipeline_config.guard import in_words
from pipeline_config.lineage import spark_lineage
from pipeline_config.model import Environment, Pipeline
from pipeline_config.problem import Problem
from pipeline_config.project import Project, active_environment, importable, root_of

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """The valid DAGs by dag_id, or another name if the loader's file has that word; every problem, one line each."""

    dags: dict[str, DAG]
    problems: list[str]


class PipelineErrors(Exception):  # noqa: N818 (the name is what people read in the dialog)
    """Every problem of the YAML files, one line each."""

    __module__ = "builtins"  # otherwise this module's long name would begin the first line


def load(file: str | Path) -> Loaded:
    """What there is of the project around `file`, the one that Airflow parses. When a task starts, only its DAG."""
    loaded = Loaded({}, [])
    try:
        root = root_of(Path(file).parent)
        importable(root)
        with _without_collections():
            load_into(loaded, *load_checked(root))
        _rename(loaded.dags, Path(file))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 (see the module's docstring)
        loaded.problems.append(f"pipelines: cannot be loaded\n{traceback.format_exc()}")
    return loaded


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python looks for no garbage: there is little, and each look goes through all of Airflow's objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _rename(dags: dict[str, DAG], file: Path) -> None:
    """Under its dag_id a DAG would replace what the file calls so; Airflow does not ask for the name."""
    words = re.findall(r"\w+", file.read_text(encoding="utf-8")) if file.is_file() else []
    for name in [name for name in dags if name in words or name.startswith("__")]:
        dags[f"DAG {name}"] = dags.pop(name)


def raise_problems(problems: list[str]) -> None:
    """Raise them, if there are any, as Airflow's dialog of import errors shows them best."""
    if problems:
        raise PipelineErrors("\n" + "\n".join(problems))


def build(project: Project, pipeline: Pipeline, environment: Environment) -> DAG:
    """One pipeline as a DAG."""
    ((dag_id, config),) = compile_pipeline(project, pipeline, environment).items()
    # load_yaml_dags would do the same, and take twice as long for a copy of its own dialect on the DAG's page.
    dag: DAG = DagBuilder(dag_id, with_objects(config), default_config={}, yml_dag="").build()["dag"]
    dag.doc_md = markdown(pipeline)
    dag.deadline = deadlines(config)  # of which dag-factory knows nothing
    # One word for the shell, or for JSON one value, of whatever they are given; of a task instance, words for Spark.
    dag.user_defined_filters = {"shell_quote": shlex.quote, "as_json": as_json, "spark_lineage": spark_lineage}
    return dag


def load_into(loaded: Loaded, project: Project, found: list[Problem]) -> None:
    """Add the DAGs of a checked project, and the problems of those that cannot be built."""
    problems = [problem for problem in found if problem.severity == "error"]
    loaded.problems.extend(str(problem) for problem in problems)
    try:
        needed = [project.catalog_file, project.defaults_file, *project.chain(active_environment())]
    except CommandError:
        return  # there is no such environment, or it extends none that is there: problems of the check
    if any(document.problems for document in needed):
        return
    environment = project.environment(active_environment())
    wanted = get_parsing_context().dag_id
    broken = {problem.file for problem in problems}
    for pipeline in project.pipelines:
        if pipeline.file in broken or (wanted and pipeline.dag_id != wanted):
            continue
        try:
            loaded.dags[pipeline.dag_id] = build(project, pipeline, environment)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (one DAG that cannot be built must not take the others away)
            if broken.isdisjoint(document.file for document in needed):
                loaded.problems.append(_cannot_be_built(project, pipeline, environment, error))
            else:  # it may be a consequence of what is wrong there, and people read one line
                log.warning("%s cannot be built: %s", pipeline.file, in_words(error))


def _cannot_be_built(project: Project, pipeline: Pipeline, environment: Environment, error: BaseException) -> str:
    """The problem at the DAG's key without which it can be built, or at the first task that cannot be built alone."""

    def fails(other: Pipeline) -> BaseException | None:
        try:
            build(project, other, environment)
        except KeyboardInterrupt:
            raise
        except BaseException as own:  # noqa: BLE001 (an operator may refuse its arguments in any way)
            return own
        return None

    bare = Pipeline.of(pipeline.place, {"dag_id": pipeline.dag_id, "description": "", "schedule": None, "tasks": []})
    place = pipeline.place
    for key in place.document.data.keys() - {"dag_id", "tasks"}:
        if not fails(replace(pipeline, **{key: getattr(bare, key)})):
            place = pipeline.at(key)
            break
    else:
        for task in pipeline.tasks:
            if own := fails(replace(bare, tasks=[replace(task, dependencies=(), group=None)])):
                place, error = task.place, own
                break
    log.error("%s cannot be built", pipeline.file, exc_info=error)  # people read one line; the rest is here
    return str(place.problem(f"cannot be built: {in_words(error)}"))
