"""OpenLineage: a task's data by its names, and for Spark which task has started it.

Airflow's provider, if it is installed and configured, asks the operators; nothing else imports it. Data have the names
that openlineage-spark gives them, so that both sides mean the same.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipeline_config.flows import flow_of_run, variables_of_options
from pipeline_config.job_contract import Data
from pipeline_config.model import Pipeline, Task
from pipeline_config.project import Project

log = logging.getLogger("airflow.task")

_OPTION = re.compile(r"--([a-z][a-z0-9-]*)=(.*)", re.DOTALL)  # as compiler.option_words writes it
_SCHEMA = "public"  # PostgreSQL's, unless somebody has set another search path


class Dataset(NamedTuple):
    """A name of OpenLineage, unique within its namespace."""

    namespace: str
    name: str


def datasets(
    project: Project, dag_id: str, task_id: str, command: str | Sequence[str], environment: Mapping[str, str]
) -> tuple[list[Dataset], list[Dataset]]:
    """What a task that has run reads and writes, by its rendered command and the variables that its job got."""
    pipeline = project.pipeline(dag_id)
    task = next(task for task in pipeline.tasks if pipeline.full_id(task) == task_id)
    words = shlex.split(command) if isinstance(command, str) else command
    options = {match[1]: match[2] for word in words if (match := _OPTION.fullmatch(word))}
    flow = flow_of_run(project, task, options)
    servers = {"topic": _brokers(project, pipeline, task, options), "postgresql": _database(environment)}
    return _named(flow.reads, servers), _named(flow.writes, servers)


def _named(data: Iterable[Data], servers: Mapping[str, tuple[str, str]]) -> list[Dataset]:
    """Without those whose server is not known."""
    return [dataset for one in data if (dataset := _dataset(one, servers)).namespace]


def _dataset(data: Data, servers: Mapping[str, tuple[str, str]]) -> Dataset:
    if data.kind in servers:
        namespace, before = servers[data.kind]
        return Dataset(namespace, f"{before}{data.name}")
    scheme, authority, path, *_ = urlsplit(data.name)
    if scheme in {"", "file"}:
        return Dataset("file", path)
    scheme = {"s3a": "s3", "s3n": "s3"}.get(scheme, scheme)
    return Dataset(f"{scheme}://{authority}", path.lstrip("/"))


def _brokers(project: Project, pipeline: Pipeline, task: Task, options: Mapping[str, str]) -> tuple[str, str]:
    """The namespace of topics, by the first broker that the job is given, and what is before their names."""
    types = {name: variable.type for name, variable in project.catalog.variables.items()}
    for one, option, variable in variables_of_options(pipeline):
        if one is task and types.get(variable) == "brokers" and options.get(option):
            return f"kafka://{options[option].split(',')[0]}", ""
    return "", ""


def _database(environment: Mapping[str, str]) -> tuple[str, str]:
    """The namespace of PostgreSQL's tables, and what is before their names."""
    host, port, database = (environment.get(name, "") for name in ("PGHOST", "PGPORT", "PGDATABASE"))
    return (f"postgres://{host}:{port or 5432}", f"{database}.{_SCHEMA}.") if host and database else ("", "")


def spark_lineage(instance: Any) -> str:
    """A filter for a task instance: spark-submit's words that name it and its run as those that have started Spark.

    Nothing if Airflow sends no lineage.
    """
    try:
        from airflow.providers.openlineage import conf
    except ImportError:
        return ""
    if conf.is_disabled():
        return ""
    from airflow.providers.openlineage.plugins import macros

    try:
        parent, root = macros.lineage_parent_id(instance), macros.lineage_root_parent_id(instance)
    except Exception:
        log.exception("Spark's lineage will not name its task")  # which has to run all the same
        return ""
    settings = {**_settings("parent", parent), **_settings("rootParent", root)}
    return " ".join(f"--conf {shlex.quote(f'spark.openlineage.{name}={value}')}" for name, value in settings.items())


def _settings(prefix: str, identity: str) -> dict[str, str]:
    """Of `namespace/job/run`."""
    namespace, job, run = identity.rsplit("/", 2)
    return {f"{prefix}JobNamespace": namespace, f"{prefix}JobName": job, f"{prefix}RunId": run}
