"""`plan --against airflow`: what a running Airflow has and the files do not, and the reverse. Read-only."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline_config import airflow_import
from pipeline_config.checks.operators import before
from pipeline_config.compiler import compile_pipeline
from pipeline_config.differences import Difference, compared, differences, view
from pipeline_config.documentation import yaml_of
from pipeline_config.errors import CommandError
from pipeline_config.model import Environment, Pipeline
from pipeline_config.project import Project
from pipeline_config.reader import Document, parse

NAME = "airflow"
ADDRESS, TOKEN = "AIRFLOW_API_URL", "AIRFLOW_API_TOKEN"
PAGE = 100
TIMEOUT_SECONDS = 30
HIDDEN = "***"  # what Airflow shows of a secret
OWN_POOL = "default_pool"
FACTORY_TAG = "dagfactory"  # dag-factory's own, on each of its DAGs
# Airflow reports these presets as cron expressions.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
Get = Callable[[str], Any]  # the answer to a path below /api/v2/


def lines(project: Project, environment: Environment, get: Get) -> Iterator[str]:
    """A line for each difference, `+` what only the files have: DAGs first, then variables, connections, pools."""
    here, there = _dags_of_files(project, environment), _dags_of_airflow(get)
    for dag_id in sorted({*here, *there}):
        if dag_id not in here:
            yield f"- {dag_id}: Airflow has this DAG, the files do not"
        elif dag_id not in there:
            yield f"+ {dag_id}: the files have this DAG, Airflow does not"
        else:
            page = get(f"dags/{dag_id}/details")["doc_md"]
            found = [
                *differences(there[dag_id](here[dag_id]), here[dag_id]),
                *_of_its_file(project, environment, project.pipeline(dag_id), yaml_of(page)),
            ]
            yield from dict.fromkeys(f"{sign} {dag_id}: {what}" for sign, what in found)
    yield from (f"{sign} {what}" for sign, what in differences(*_settings(project, environment, get)))


def _of_its_file(project: Project, environment: Environment, pipeline: Pipeline, known: str) -> Iterable[Difference]:
    """What has changed in the file since Airflow read it: commands and arguments, which the API does not return."""
    document = pipeline.place.document
    if known in ("", document.text):
        return ()
    before = parse(Document(document.file), known.encode())
    if before.problems:
        return [("~", f"Airflow has read another file, of an older dialect: {before.problems[0].message}")]
    return compared(*(view(project, one, environment) for one in (before, document)))


def client() -> Get:
    """Queries the Airflow of the environment variables. Raises CommandError."""
    address, token = (os.environ.get(name, "").rstrip("/") for name in (ADDRESS, TOKEN))
    missing = [name for name, value in ((ADDRESS, address), (TOKEN, token)) if not value]
    if missing:
        raise CommandError(f"set {' and '.join(missing)}: Airflow's address, https://…, and a token of its /auth/token")
    if not address.startswith(("http://", "https://")):
        raise CommandError(f"{ADDRESS}: {address!r} is not a URL: write it as https://airflow.example.org")

    # The token of an Airflow on this machine must not go through a proxy.
    ours = urllib.parse.urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if ours else []))

    def get(path: str) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        request = urllib.request.Request(f"{address}/api/v2/{path}", headers=headers)  # noqa: S310 (http or https)
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            hint = f"; is {TOKEN} valid, and may its user read?" if error.code in (401, 403) else ""
            raise CommandError(f"{address} answers {error.code} {error.reason} to /api/v2/{path}{hint}") from None
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"{address} does not answer: {getattr(error, 'reason', error)}") from None
        except ValueError:
            raise CommandError(f"{address} is not an Airflow 3: /api/v2/{path} is not JSON") from None

    return get


def _all(get: Get, path: str, key: str) -> Iterator[dict[str, Any]]:
    """Every entry of a collection, page by page."""
    offset, total = 0, 1
    while offset < total:
        page = get(f"{path}?limit={PAGE}&offset={offset}")
        yield from page[key]
        offset, total = offset + PAGE, page["total_entries"]


def _dags_of_files(project: Project, environment: Environment) -> dict[str, dict[str, Any]]:
    """What is compared of each DAG, by dag_id: as Airflow's API says it."""
    result = {}
    for pipeline in project.pipelines:
        (config,) = compile_pipeline(project, pipeline, environment).values()
        result[pipeline.dag_id] = {
            "description": config["description"],
            "schedule": _cron(config["schedule"]),
            "max_active_runs": config["max_active_runs"],
            "tags": sorted(config["tags"]),
            "tasks": {
                name: {
                    "pool": task.get("pool", OWN_POOL),
                    "retries": task.get("retries", config["default_args"].get("retries", 0)),
                    "dependencies": _nearest(pipeline.upstream, name),
                }
                for name, task in config["tasks"].items()
            },
        }
    return result


def _cron(schedule: Any) -> Any:
    """A cron expression, None for no schedule; anything else cannot be compared."""
    if isinstance(schedule, str):
        return PRESETS.get(schedule, schedule)
    return None if schedule is None else ...


def _dags_of_airflow(get: Get) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """For each DAG that Airflow has, what is compared with the files; its tasks are requested only then."""

    def of(dag: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda here: {
            "description": dag["description"],
            "schedule": here["schedule"] if here["schedule"] is ... else _summary(dag["timetable_summary"]),
            "max_active_runs": dag["max_active_runs"],
            "tags": sorted({tag["name"] for tag in dag["tags"]} - {FACTORY_TAG}),
            "tasks": _tasks(get(f"dags/{dag['dag_id']}/tasks")["tasks"]),
        }

    return {dag["dag_id"]: of(dag) for dag in _all(get, "dags", "dags")}


def _summary(text: str | None) -> str | None:
    return None if text in (None, "None") else text


def _tasks(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Pool, retries and dependencies of each task; the groups around it are not part of its name here."""
    names = {task["task_id"]: task["task_id"].rpartition(".")[2] for task in tasks}
    graph: dict[str, list[str]] = {name: [] for name in names.values()}
    for task in tasks:
        for later in task["downstream_task_ids"] or ():
            graph[names[later]].append(names[task["task_id"]])
    return {
        names[task["task_id"]]: {
            "pool": task["pool"],
            "retries": int(task["retries"] or 0),
            "dependencies": _nearest(graph, names[task["task_id"]]),
        }
        for task in tasks
    }


def _nearest(graph: dict[str, list[str]], task_id: str) -> list[str]:
    """The tasks that a task waits for, none of which precedes another: a group has fewer edges in Airflow."""
    direct = set(graph[task_id])
    return sorted(direct - {name for one in direct for name in before(graph, one)})


def _settings(project: Project, environment: Environment, get: Get) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables, connections and pools of Airflow, and of the files."""
    here: dict[str, dict[str, Any]] = {
        "variables": airflow_import.variables(environment),
        "connections": airflow_import.connections(project, environment),
        "pools": airflow_import.pools(project),
    }
    variables = {entry["key"]: entry["value"] for entry in _all(get, "variables", "variables")}
    for name, value in variables.items():
        if value == HIDDEN and name in here["variables"]:
            variables[name] = here["variables"][name]
    connections = {
        entry["connection_id"]: _connection(entry, here["connections"].get(entry["connection_id"], {}))
        for entry in _all(get, "connections", "connections")
    }
    pools = {
        entry["name"]: {key: entry[key] for key in ("slots", "description", "include_deferred")}
        for entry in _all(get, "pools", "pools")
        if entry["name"] != OWN_POOL
    }
    return {"variables": variables, "connections": connections, "pools": pools}, here


def _connection(entry: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """A connection's address, with only those extras that the files have too: people add secrets there."""
    result = {key: entry[key] for key in ("conn_type", "description", "host", "port", "login", "schema")}
    result = {key: value for key, value in result.items() if value not in (None, "")}
    if known := here.get("extra"):
        extra = json.loads(entry["extra"] or "{}")
        result["extra"] = {key: known[key] if extra[key] == HIDDEN else extra[key] for key in known if key in extra}
    return result
