"""`plan --against airflow`: both sides of each difference, by an Airflow that answers as its API does."""

from __future__ import annotations

import http.server
import json
import os
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline_config import running_airflow
from pipeline_config.__main__ import main
from pipeline_config.documentation import markdown
from pipeline_config.project import load_project

DAY = "tripclick_daily_pipeline"
PARTS = ["start", "trigger_producer_batch", "trigger_streaming", "trigger_batch", "trigger_analytics_mart"]
PARTS += ["trigger_load_postgres", "end"]


class Airflow(http.server.ThreadingHTTPServer):
    """Answers /api/v2/… from what a test puts into `has`, a collection by the name that its list has."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.has: dict[str, list[dict[str, Any]]] = {"dags": [], "variables": [], "connections": [], "pools": []}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []


class Answers(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Airflow

    def do_GET(self) -> None:
        """A page of a collection, or the tasks of a DAG; 401 without the token."""
        url = urllib.parse.urlsplit(self.path)
        self.server.asked.append(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        name, _, rest = url.path.removeprefix("/api/v2/").partition("/")
        dag_id, _, what = rest.partition("/")
        if what == "details":
            answer: dict[str, Any] = {"doc_md": self.server.pages[dag_id]}
        elif rest:
            answer = {"tasks": self.server.tasks[dag_id]}
        else:
            start, every = int(query["offset"]), self.server.has[name]
            answer = {name: every[start : start + int(query["limit"])], "total_entries": len(every)}
        body = json.dumps(answer).encode()
        self.send_response(200 if self.headers["Authorization"] == "Bearer right" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    """An empty Airflow, with its address and token in the environment."""
    for name in [name for name in os.environ if name.startswith("STACK_")]:
        monkeypatch.delenv(name)
    with Airflow() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv(running_airflow.ADDRESS, f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv(running_airflow.TOKEN, "right")
        yield server
        server.shutdown()
        thread.join()


def fill(airflow: Airflow) -> None:
    """Let it have what production's files have."""
    project = load_project()
    environment = project.environment("production")
    for pipeline in project.pipelines:
        data = pipeline.place.document.data
        schedule = data["schedule"]
        summary = schedule if isinstance(schedule, str) else "Asset" if schedule else None
        airflow.has["dags"].append(
            {
                "dag_id": data["dag_id"],
                "description": data["description"],
                "timetable_summary": summary,
                "max_active_runs": data.get("max_active_runs", 1),
                "tags": [{"name": tag, "dag_id": data["dag_id"]} for tag in ["dagfactory", *data.get("tags", [])]],
            }
        )
        airflow.pages[data["dag_id"]] = markdown(pipeline)
        groups = {task["task_id"]: f"{task['group']}." if "group" in task else "" for task in data["tasks"]}
        airflow.tasks[data["dag_id"]] = [
            {
                "task_id": groups[task["task_id"]] + task["task_id"],
                "pool": task.get("pool", "default_pool"),
                "retries": 2.0,
                "downstream_task_ids": [
                    groups[later["task_id"]] + later["task_id"]
                    for later in data["tasks"]
                    if task["task_id"] in later.get("dependencies", [])
                ],
            }
            for task in data["tasks"]
        ]
    variables = environment.variables.items()
    airflow.has["variables"] = [{"key": name, "value": value, "description": None} for name, value in variables]
    for name, address in ((name, address.given()) for name, address in environment.connections.items()):
        entry = project.catalog.connections[name]
        kind = {"conn_type": entry.type}
        empty = dict.fromkeys(("host", "port", "login", "schema", "password", "extra"))
        words = {"description": entry.description}
        extra = {"extra": json.dumps(address["extra"])} if "extra" in address else {}
        airflow.has["connections"].append({"connection_id": name, **empty, **kind, **words, **address, **extra})
    airflow.has["pools"] = [{"name": "default_pool", "slots": 128, "description": None, "include_deferred": False}]
    airflow.has["pools"] += [
        {"name": name, **pool.given(), "include_deferred": True} for name, pool in project.catalog.pools.items()
    ]


def planned(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> list[str]:
    """What it prints, and that it ends with this code."""
    assert main(["plan", "--against", "airflow", *arguments]) == code
    said = capsys.readouterr()
    return (said.out + said.err).splitlines()


def test_an_airflow_that_has_what_the_files_have_changes_nothing(
    airflow: Airflow, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(airflow)
    connection = next(one for one in airflow.has["connections"] if one["connection_id"] == "spark_ssh")
    connection |= {"password": "***", "extra": '{"host_key": "AAAA", "private_key": "***"}'}
    assert planned(capsys, 0) == ["nothing changes against airflow"]


def test_each_difference_is_a_line_in_both_directions(airflow: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    fill(airflow)
    has = airflow.has
    daily = next(dag for dag in has["dags"] if dag["dag_id"] == DAY)
    daily |= {"timetable_summary": "0 16 * * *", "tags": [{"name": "tripclick"}, {"name": "old"}]}
    has["dags"] = [dag for dag in has["dags"] if dag["dag_id"] != "tripclick_load_postgres"]
    has["dags"] += [{"dag_id": f"example_{number}"} for number in range(120)]
    chain = airflow.tasks[DAY]
    airflow.tasks[DAY] = [task for task in chain if task["task_id"] != "trigger_batch"]
    for task in airflow.tasks[DAY]:
        task["downstream_task_ids"] = [name for name in task["downstream_task_ids"] if name != "trigger_batch"]
    stream = airflow.tasks["tripclick_streaming_curated"]
    stream[1] |= {"pool": "default_pool", "retries": 5.0}
    has["variables"] = [one for one in has["variables"] if one["key"] != "SPARK_CORES"]
    has["variables"] += [{"key": "API_TOKEN", "value": "hunter2"}, {"key": "OLD", "value": "x"}]
    next(one for one in has["connections"] if one["connection_id"] == "spark_ssh")["host"] = "elsewhere"
    has["connections"].append({**has["connections"][0], "connection_id": "old"})
    has["pools"][1]["slots"] = 3
    assert [line for line in planned(capsys, 2) if "example_" not in line] == [
        '~ tripclick_daily_pipeline: schedule "0 16 * * *" → "0 15 * * *"',
        "- tripclick_daily_pipeline: tag old",
        "+ tripclick_daily_pipeline: tag orchestration",
        "+ tripclick_daily_pipeline: task trigger_analytics_mart: waits for trigger_batch",
        "+ tripclick_daily_pipeline: task trigger_batch",
        "+ tripclick_load_postgres: the files have this DAG, Airflow does not",
        "~ tripclick_streaming_curated: task streaming_to_curated_stream: "
        'pool "default_pool" → "curated_stream_writer"',
        "~ tripclick_streaming_curated: task streaming_to_curated_stream: retries 5 → 2",
        "- variable API_TOKEN ***",
        '- variable OLD "x"',
        '+ variable SPARK_CORES "2"',
        '~ connection spark_ssh: host "elsewhere" → "spark-master"',
        "- connection old",
        "~ pool curated_stream_writer: slots 3 → 1",
    ]
    assert sum("example_" in line for line in planned(capsys, 2)) == 120


def test_a_command_that_the_api_does_not_have_is_compared_by_the_yaml_on_the_dags_page(
    airflow: Airflow, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(airflow)
    pages = airflow.pages
    pages[DAY] = pages[DAY].replace("until_caught_up: true", "until_caught_up: false").replace("15 * * *", "16 * * *")
    pages["tripclick_load_postgres"] = "Somebody else's page"
    pages["tripclick_producer_batch"] = "```yaml\n- what\n```"
    pages["tripclick_streaming_curated"] = pages["tripclick_streaming_curated"].replace(
        "run-minutes: ", "# for so long\n      run-minutes: "
    )
    assert planned(capsys, 2) == [
        '~ tripclick_daily_pipeline: schedule "0 16 * * *" → "0 15 * * *"',
        "~ tripclick_daily_pipeline: task trigger_streaming: conf.until_caught_up false → true",
        "~ tripclick_producer_batch: Airflow has read another file, of an older dialect: "
        "must be a mapping of keys to values at the top",
    ]


def test_groups_have_fewer_edges_in_airflow_and_change_nothing() -> None:
    graph: dict[str, list[str]] = {"start": [], "a": ["start"], "b": ["a", "start"], "end": ["a", "b"]}
    assert {name: running_airflow._nearest(graph, name) for name in graph} == {
        "start": [],
        "a": ["start"],
        "b": ["a"],
        "end": ["b"],
    }
    assert running_airflow._tasks(
        [
            {"task_id": "start", "pool": "p", "retries": 2.0, "downstream_task_ids": ["words.inner.say"]},
            {"task_id": "words.inner.say", "pool": "p", "retries": 0.0, "downstream_task_ids": []},
        ]
    ) == {
        "start": {"pool": "p", "retries": 2, "dependencies": []},
        "say": {"pool": "p", "retries": 0, "dependencies": ["start"]},
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({running_airflow.TOKEN: ""}, f"set {running_airflow.TOKEN}: Airflow's address"),
        ({running_airflow.ADDRESS: "airflow:8080"}, "'airflow:8080' is not a URL: write it as https://"),
        ({running_airflow.ADDRESS: "http://127.0.0.1:1"}, "http://127.0.0.1:1 does not answer: [Errno 111]"),
        ({running_airflow.TOKEN: "wrong"}, "answers 401 Unauthorized to /api/v2/dags?limit=100&offset=0; is AIRFLOW"),
    ],
)
def test_what_cannot_be_asked_is_reported_in_one_line(
    settings: dict[str, str],
    words: str,
    airflow: Airflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert airflow.has
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (line,) = planned(capsys, 1)
    assert words in line
