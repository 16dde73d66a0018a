"""What preflight asks, and how: all at once, each with a limit, from the values that Airflow would use."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from jobs.preflight import kafka_cluster, lake_program
from jobs.preflight.spark_server import Needs, SparkServer, jars_of, spark_version
from pipeline_config import preflight
from pipeline_config.errors import CommandError
from pipeline_config.preflight.engine import engine_url
from pipeline_config.preflight.engine import probes as engine_probes
from pipeline_config.preflight.probe import Failure, Once, Outcome, Probe, run_all
from pipeline_config.preflight.settings import Connection, Settings, connection_of, from_environment, printed_json
from pipeline_config.preflight.uses import Asked, probes, uses_of
from pipeline_config.project import ROOT, load_project
from stack.settings import SPARK_JARS
from tests.programs import program

PASSWORD = "not-to-be-printed"
CONNECTIONS = ("docker_server0", "spark_ssh")


def test_probes_run_at_the_same_time_and_answer_in_their_order() -> None:
    both = threading.Barrier(2, timeout=5)

    def meet(name: str) -> str:
        both.wait()
        return name

    outcomes = run_all([Probe(name, lambda name=name: meet(name), "") for name in ("a", "b")])  # type: ignore[misc]
    assert [(outcome.what, outcome.ok, outcome.found) for outcome in outcomes] == [("a", True, "a"), ("b", True, "b")]


def test_a_probe_that_hangs_is_left_after_its_limit() -> None:
    release = threading.Event()

    def hang() -> str:
        release.wait()
        return ""

    try:
        (outcome,) = run_all([Probe("x", hang, "fix it", limit=0.1)])
    finally:
        release.set()
    assert (outcome.ok, outcome.found, outcome.fix) == (False, "no answer within 0 s", "fix it")
    assert outcome.seconds < 2


def test_a_probe_that_hangs_does_not_keep_the_process_from_its_end() -> None:
    command = [sys.executable, "-c", program("leaves_a_probe")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.startswith("failed")


def test_any_error_is_one_line_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # a busy machine needs longer

    def refuse() -> str:
        raise RuntimeError("one\ntwo")

    (outcome,) = run_all([Probe("x", refuse, "fix it")])
    assert str(outcome) == "failed   0.0 s  x: RuntimeError: one two; fix it"


def test_what_several_probes_need_is_made_once_and_its_failure_is_reported_once() -> None:
    tries = []

    def refuse() -> str:
        tries.append(1)
        raise Failure("refused", "start it")

    login = Once("the server", refuse)
    with pytest.raises(Failure, match="refused"):
        login.own()
    with pytest.raises(Failure, match="not tried, since the server failed") as failure:
        login.needed()
    assert (failure.value.fix, len(tries)) == ("fix the server first", 1)


@pytest.mark.parametrize(
    ("text", "connection"),
    [
        (
            "postgresql://mart:p%40ss@gold:5433/tripclick?sslmode=require",
            Connection("gold", 5433, "mart", "p@ss", "tripclick", {"sslmode": "require"}),
        ),
        ("docker://tcp://server0:2375", Connection("tcp://server0", 2375)),
        ("docker://unix://%2Fvar%2Frun%2Fdocker.sock", Connection("unix:///var/run/docker.sock")),
        (
            "ssh://spark@master/?__extra__=%7B%22key_file%22%3A+%22%2Fk%22%7D",
            Connection("master", login="spark", extra={"key_file": "/k"}),
        ),
        (
            '{"conn_type": "ssh", "host": "master", "port": "22", "extra": "{\\"key_file\\": \\"/k\\"}"}',
            Connection("master", 22, extra={"key_file": "/k"}),
        ),
        ('{"conn_type": "aws", "login": "id", "password": "key"}', Connection(login="id", password="key")),
    ],
)
def test_connections_are_read_as_airflow_reads_them(text: str, connection: Connection) -> None:
    assert connection_of(text) == connection


def test_airflows_own_environment_variables_go_before_the_environment_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_KAFKA_BROKERS", "other:9092")
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_GOLD", "postgres://me@other/db")
    project = load_project()
    settings = from_environment(project, project.environment("production"))
    assert settings.variable("KAFKA_BROKERS") == "other:9092"
    assert settings.connection("postgres_gold") == Connection("other", login="me", schema="db")
    assert settings.connection("spark_ssh") == Connection("spark-master", 22, "spark")


@pytest.mark.parametrize("text", [PASSWORD, f'{{"password": "{PASSWORD}"', f"ssh://u:{PASSWORD}@h:port/"])
def test_a_connection_that_cannot_be_read_is_named_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_SSH", text)
    project = load_project()
    with pytest.raises(CommandError, match="AIRFLOW_CONN_SPARK_SSH is neither") as error:
        preflight.run(project, project.environment("local"))
    assert PASSWORD not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_what_airflow_logs_in_front_of_its_export_is_passed_over() -> None:
    assert printed_json('2026-11-28T06:11:44Z [warning  ] a secret [1] is short {2}\n{"a": "b"}\n') == {"a": "b"}
    assert printed_json('[{"pool": "p"}]\n') == [{"pool": "p"}]
    with pytest.raises(ValueError, match="Expecting value"):
        printed_json("no export\n")


def test_what_is_missing_is_reported_with_the_place_to_add_it() -> None:
    settings = Settings({"A": " "}, {}, "Airflow")
    with pytest.raises(Failure, match="no value in Airflow") as failure:
        settings.variable("A")
    assert failure.value.fix == "set it there, or as AIRFLOW_VAR_A"
    with pytest.raises(Failure, match="no such connection in Airflow") as failure:
        settings.connection("gold")
    assert failure.value.fix == "add it there, or as AIRFLOW_CONN_GOLD"


def test_secrets_are_masked_whatever_a_library_says() -> None:
    extra = {"private_key": "----KEY----", "host_key": "public"}
    settings = Settings({}, {"c": Connection(password=PASSWORD, extra=extra)}, "Airflow")
    assert settings.masked(f"{PASSWORD} ----KEY---- public") == "*** *** public"


def test_what_is_asked_is_what_the_tasks_use() -> None:
    project = load_project()
    uses = list(uses_of(project, project.environment("production")))
    asked = Asked(ROOT, Settings({}, {}, ""), "", uses)
    assert {topic for use in uses for topic in use.topics} == {"tripclick.clicks"}
    assert asked.read("kafka_security") == ["KAFKA_SECURITY_PATH"]
    producer, spark = (replace(asked, uses=[use for use in uses if use.connection == name]) for name in CONNECTIONS)
    assert {use.operator.arguments["image"] for use in producer.uses} == {"tripclick-producer:0.1.0"}
    assert producer.read("path") == ["WEBSERVER_INGESTION_PATH"]
    lake = ["S3_ANALYTICS_MART_PATH", "S3_ARCHIVE_RAW_PATH", "S3_CHECKPOINT_PATH", "S3_CURATED_STREAM_PATH"]
    assert sorted(spark.read("path")) == lake
    assert spark.commands_read("path") == ["SPARK_PROJECT_PATH"]
    assert (spark.declared("postgres"), spark.declared("aws")) == (["postgres_gold"], ["aws_s3"])


def test_the_path_of_client_properties_may_be_empty_but_not_missing() -> None:
    def asked(variables: dict[str, str]) -> Outcome:
        settings = Settings({"KAFKA_BROKERS": "nobody", **variables}, {}, "Airflow")
        return list(run_all(kafka_cluster.probes(settings, "KAFKA_BROKERS", [], "PATH")))[-1]

    assert (asked({"PATH": ""}).ok, asked({"PATH": ""}).found) == (True, "empty: Kafka uses plaintext")
    missing = asked({})
    assert (missing.ok, missing.found) == (False, "no value in Airflow")
    assert missing.fix == "set it there, empty if Kafka uses plaintext, or as AIRFLOW_VAR_PATH"


def test_an_empty_variable_of_airflows_own_goes_before_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_KAFKA_BROKERS", "")
    project = load_project()
    with pytest.raises(Failure, match="no value in"):
        from_environment(project, project.environment("production")).variable("KAFKA_BROKERS")


def test_without_a_docker_engine_none_is_asked_for() -> None:
    project = load_project()
    environment = project.environment("local_without_docker")
    names = [probe.what for probe in probes(project, environment, from_environment(project, environment))]
    assert not [name for name in names if "docker" in name or "image" in name]
    assert "WEBSERVER_INGESTION_PATH" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("lake", ["s3a://bucket/lake", "/data/lake"])
def test_what_could_not_be_asked_is_not_reported_as_right(lake: str) -> None:
    needs = Needs(projects=["HERE"], paths=["LAKE"], postgres=["gold"], aws=["s3"])
    connections = {"spark": Connection("127.0.0.1", 1, login="me"), "s3": Connection(login="key", password="word")}
    settings = Settings({"HERE": "/opt/here", "LAKE": lake}, connections, "Airflow")
    outcomes = {one.what: one for one in run_all(SparkServer(ROOT, settings, "spark", needs).probes())}
    well = {what for what, outcome in outcomes.items() if outcome.ok}
    assert well == ({"s3"} if lake.startswith("/") else set())
    assert {"spark", "HERE", "LAKE", "s3", "spark jobs"} <= outcomes.keys()
    assert outcomes["HERE"].found == "not tried, since spark failed"


def test_a_pool_that_airflow_does_not_have_is_named() -> None:
    project = load_project()
    environment = project.environment("local")
    settings = replace(from_environment(project, environment), pools=frozenset({"curated_stream_writer"}))
    asked = [probe for probe in probes(project, environment, settings) if probe.what.startswith("pool ")]
    outcomes = {outcome.what: outcome for outcome in run_all(asked)}
    assert outcomes["pool curated_stream_writer"].ok
    assert outcomes["pool archive_raw_writer"].found.startswith("Airflow has no such pool")
    assert "airflow pools import" in outcomes["pool archive_raw_writer"].fix


def test_an_engine_in_plaintext_is_refused_and_where_that_is_meant_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # who would be told, and does not answer

    class Plain(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"OK" if self.path.endswith("_ping") else b'{"Version": "28", "ApiVersion": "1.44"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        extras: tuple[dict[str, Any], ...] = ({}, {"plaintext": "false"}, {"plaintext": True}, {"plaintext": "true"})
        said = []
        for extra in extras:
            connection = Connection("127.0.0.1", server.server_address[1], extra=extra)
            settings = Settings({}, {"engine": connection}, "Airflow")
            said += [str(outcome) for outcome in run_all(engine_probes(settings, "engine", {}, {}))]
        server.shutdown()
    assert all(line.startswith("failed") and "whoever reaches it is root on its host" in line for line in said[:2])
    assert all(
        line.startswith("warn  ") and "in plaintext: whoever reaches it is root there" in line for line in said[2:]
    )


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        (Connection("server0"), "tcp://server0:2375"),
        (Connection("server0", 2376), "tcp://server0:2376"),
        (Connection("tcp://server0:2375"), "tcp://server0:2375"),
        (Connection("tcp://server0", 2375), "tcp://server0:2375"),
        (Connection("unix:///var/run/docker.sock"), "unix:///var/run/docker.sock"),
    ],
)
def test_an_engine_is_found_by_host_or_by_url(connection: Connection, url: str) -> None:
    assert engine_url(connection) == url


def test_the_versions_come_from_the_projects_own_files() -> None:
    assert spark_version(ROOT) == "4.2.0"
    assert jars_of(ROOT) <= {path.name for path in SPARK_JARS.glob("*.jar")}  # and what those need


class Stream:
    """The builder and the stream of a file that is there, on a service that refuses or takes it."""

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    def close(self) -> None:
        """Send it."""
        if self._refusal:
            error: Any = OSError("refused")
            error.java_exception = self._refusal
            raise error

    def createFile(self, *_: object) -> Stream:  # noqa: N802
        """Hadoop's builder."""
        return self

    overwrite = recursive = must = build = createFile


def test_service_without_conditional_writes_is_told_from_one_that_has_them() -> None:
    assert lake_program.replaces(Stream(""), "file")
    assert not lake_program.replaces(Stream("org.apache.hadoop.fs.s3a.RemoteFileChangedException: 412"), "file")
    with pytest.raises(OSError, match="refused"):
        lake_program.replaces(Stream("java.net.ConnectException"), "file")
