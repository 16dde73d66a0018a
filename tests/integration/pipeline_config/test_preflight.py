"""`preflight` against real servers: all is there, and one line with the fix for each thing that is broken."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
from kafka import KafkaAdminClient

from jobs.event import PARTITIONS, TOPIC
from jobs.kafka_security import PLAINTEXT
from jobs.kafka_topic import Declared, Tools
from jobs.preflight import database
from jobs.producer.topics import ensure_topics
from jobs.spark.migrations import OWNER, migrate
from pipeline_config import airflow_import, preflight
from pipeline_config.preflight.probe import Failure, Outcome, run_all
from pipeline_config.preflight.settings import Connection, Settings
from pipeline_config.preflight.ssh import Done, Login
from pipeline_config.project import ROOT, load_project
from stack import sshd as stack_sshd
from stack.docker_engine import DockerEngine
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import SUPERUSER, PostgreSql
from stack.sshd import SshServer
from stack.stack import Stack
from tests.programs import program
from tests.s3_service import S3Service

pytestmark = pytest.mark.integration

IMAGE = "tripclick-preflight:test"
DATABASE = "preflight"
READER = "preflight_reader"
SHORT = {**Declared().clicks, "retention.ms": "3600000"}
COMMAND = program("runs_preflight")
Connections = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stack(stack_home: Home, kafka_server: KafkaBroker, postgres_server: PostgreSql) -> Iterator[Stack]:
    """Every server but Airflow, with the topic and a database that has all tables."""
    stack = Stack(stack_home)
    stack.log_folder.mkdir(exist_ok=True)
    servers = [SshServer(stack_home), DockerEngine(stack_home)]
    try:
        for server in servers:
            server.start()
        make_topic(kafka_server.address)
        make_database(postgres_server)
        with image_on(stack.docker.address):
            yield stack
    finally:
        for server in servers:
            server.stop()


def make_topic(brokers: str) -> None:
    """The topic as a producer makes it, unless another test's producer has, and one that is not as it must be."""
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    ensure_topics(admin, TOPIC, Declared(), Tools(brokers, PLAINTEXT))
    admin.create_topics({"short": {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": SHORT}})
    admin.close()


def make_database(server: PostgreSql) -> None:
    """A database of its own with all tables, and a role that may only read them."""
    server.create_database(DATABASE)
    with psycopg.connect(**login(server), autocommit=True) as session:
        migrate(session)
    superuser = {"user": SUPERUSER, "password": server.home.secret("postgres_superuser")}
    with psycopg.connect(**{**login(server), **superuser}, autocommit=True) as session:
        session.execute(f"CREATE ROLE {READER} LOGIN PASSWORD 'reads'".encode())
        session.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())


def login(server: PostgreSql) -> dict[str, Any]:
    """The keyword arguments of psycopg.connect for the owner of the database."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    return {keyword: server.connection[name] for keyword, name in names.items()} | {"dbname": DATABASE}


@contextlib.contextmanager
def image_on(engine: str) -> Iterator[None]:
    """An image that holds `ls` and what it links to: the producer's would take minutes."""
    program = shutil.which("ls") or "/bin/ls"
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    files = [program, *(word for word in linked if word.startswith("/"))]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for file in files:
            archive.add(Path(file).resolve(), arcname=file)
    client = docker.DockerClient(base_url=engine)
    repository, tag = IMAGE.split(":")
    try:
        client.api.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag)
        yield
    finally:
        client.images.remove(IMAGE, force=True)
        client.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what preflight reads, with the test's image."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "pipelines", root / "pipelines")
    shutil.copytree(ROOT / "jobs", root / "jobs", ignore=shutil.ignore_patterns("__pycache__", "jars", "wheels"))
    (root / "jobs/spark/jars").symlink_to(ROOT / "jobs/spark/jars")
    shutil.copy(ROOT / "pyproject.toml", root)
    defaults = root / "pipelines/defaults.yaml"
    defaults.write_text(defaults.read_text().replace("tripclick-producer:local", IMAGE))
    return root


@pytest.fixture
def connections(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Connections:
    """The stack's connections with their secrets; its addresses are in the environment."""
    for name, value in stack.airflow_values().items():
        monkeypatch.setenv(name, value)
    project = load_project()
    found = airflow_import.connections(project, project.environment("local"))
    for name, fields in stack.airflow_secrets().items():
        found[name] |= fields
    found["postgres_gold"]["schema"] = DATABASE
    return found


@pytest.fixture
def run(
    project: Path, connections: Connections, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, dict[str, Any]]]]:
    """Run it with the connections as they are now; the exit code and the outcomes by what they are of."""

    def run(root: Path = project) -> tuple[int, dict[str, dict[str, Any]]]:
        give(connections, monkeypatch)
        files = load_project(root)
        code = preflight.run(files, files.environment("local"), as_json=True)
        printed = capsys.readouterr().out
        for fields in connections.values():
            assert not fields.get("password") or fields["password"] not in printed
        return code, {outcome["what"]: outcome for outcome in json.loads(printed)}

    return run


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A key that no server knows."""
    path = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def give(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the connections where Airflow looks for them first."""
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def failed(outcomes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What failed, as `found; fix`."""
    return {what: f"{one['found']}; {one['fix']}" for what, one in outcomes.items() if not one["ok"]}


Run = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


def test_preflight_finds_everything_that_is_there(run: Run) -> None:
    code, outcomes = run()
    assert failed(outcomes) == {}
    assert code == 0
    assert set(outcomes) == {
        "SPARK_PROJECT_PATH",
        "SPARK_MASTER",
        "SPARK_DRIVER_MEMORY",
        "SPARK_EXECUTOR_MEMORY",
        "SPARK_CORES",
        "KAFKA_BROKERS",
        "KAFKA_SECURITY_PATH",
        "KAFKA_REPLICATION",
        "KAFKA_MIN_INSYNC_REPLICAS",
        "KAFKA_RETENTION_DAYS",
        f"topic {TOPIC}",
        "docker_server0",
        f"image {IMAGE}",
        "WEBSERVER_INGESTION_PATH",
        "spark_ssh",
        "spark_ssh Spark",
        "spark_ssh AcceptEnv",
        "spark_ssh Python packages",
        "spark_ssh jobs",
        "spark_ssh jars",
        "S3_ARCHIVE_RAW_PATH",
        "S3_CURATED_STREAM_PATH",
        "S3_ANALYTICS_MART_PATH",
        "S3_CHECKPOINT_PATH",
        "postgres_gold",
        "postgres_gold rights",
        "aws_s3",
    }


def test_each_thing_that_is_wrong_is_named_with_its_fix(
    run: Run, project: Path, connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for copy in (here, there):
        shutil.copytree(project, copy, symlinks=True)
    edit(here / "pipelines/defaults.yaml", IMAGE, "tripclick-preflight:missing")
    edit(
        here / "pipelines/processing/tripclick_streaming_curated.yaml",
        "run-minutes:",
        "topic: missing\n      run-minutes:",
    )
    edit(
        here / "pipelines/processing/tripclick_spark_archive_raw_batch.yaml",
        "checkpoint-path:",
        "topic: short\n      checkpoint-path:",
    )
    edit(here / "pyproject.toml", "pyspark==4.2.0", "pyspark==4.1.9")
    edit(there / "jobs/spark/visits.py", "import", "import  ")
    (there / "jobs/spark/jars").unlink()
    (there / "jobs/spark/jars").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("AIRFLOW_VAR_SPARK_PROJECT_PATH", str(there))
    monkeypatch.setenv("AIRFLOW_VAR_S3_CHECKPOINT_PATH", f"{tmp_path}/file/checkpoints")
    monkeypatch.setenv("AIRFLOW_VAR_S3_ARCHIVE_RAW_PATH", "lake/archive_raw")
    connections["postgres_gold"]["password"] = "wrong-word"
    connections["aws_s3"]["login"] = "AKIA"

    code, outcomes = run(here)

    assert code == 1
    found = failed(outcomes)
    words = {
        "topic short": [
            "retention.ms=3600000 instead of 604800000;",
            "--topic short --add-config retention.ms=604800000",
        ],
        "topic missing": ["there is no such topic", f"creates the topic with {PARTITIONS} partitions"],
        "image tripclick-preflight:missing": ["no such image", "docker build -f jobs/producer/Dockerfile -t tripclick"],
        "WEBSERVER_INGESTION_PATH": ["not tried", "fix image tripclick-preflight:missing first"],
        "spark_ssh Spark": ["version 4.2.0 instead of 4.1.9", "install pyspark==4.1.9 there"],
        "spark_ssh jobs": ["jobs/spark/visits.py differs;", f"check out the same commit in {there} there"],
        "spark_ssh jars": ["14 jars are missing: analyticsaccelerator-s3-1.3.1.jar", "mvn -f jobs/spark/pom.xml"],
        "S3_CHECKPOINT_PATH": ["not writable on spark_ssh: Not a directory", "give its user the permission"],
        "S3_ARCHIVE_RAW_PATH": ["lake/archive_raw is relative", "write S3_ARCHIVE_RAW_PATH as an absolute path"],
        "postgres_gold": ["password authentication failed", "correct login or password of postgres_gold"],
        "postgres_gold rights": ["not tried", "fix postgres_gold first"],
        "aws_s3": ["half a key: password is empty", "give aws_s3 both login and password"],
    }
    assert found.keys() == words.keys()
    for what, parts in words.items():
        assert all(part in found[what] for part in parts), found[what]


def test_a_changed_host_key_missing_rights_and_a_missing_folder_are_named(
    run: Run, stack: Stack, connections: Connections, stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["spark_ssh"]["extra"]["host_key"] = stranger.with_suffix(".pub").read_text()
    connections["postgres_gold"] |= {"login": READER, "password": "reads"}
    monkeypatch.setenv("AIRFLOW_VAR_WEBSERVER_INGESTION_PATH", f"{tmp_path}/nowhere")

    code, outcomes = run()

    found = failed(outcomes)
    assert code == 1
    assert "shows a different host key" in found["spark_ssh"]
    assert f"ssh-keyscan -p {stack.home.port('ssh')} 127.0.0.1" in found["spark_ssh"]
    assert found["spark_ssh jobs"] == "not tried, since spark_ssh failed; fix spark_ssh first"
    assert f"{READER} cannot become {OWNER}, who owns the tables; as superuser: " in found["postgres_gold rights"]
    assert f'; GRANT {OWNER} TO "{READER}"; ' in found["postgres_gold rights"]
    assert "create that folder on the engine's host" in found["WEBSERVER_INGESTION_PATH"]
    assert outcomes["postgres_gold"]["ok"]
    assert outcomes["KAFKA_BROKERS"]["ok"]


def test_a_login_with_too_few_rights_or_too_many_is_named_with_the_way_out(
    stack: Stack, connections: Connections
) -> None:
    fields = connections["postgres_gold"]
    user = fields["login"]
    gold = Connection(fields["host"], fields["port"], user, fields["password"], schema="preflight_old")
    superuser = {"user": SUPERUSER, "password": stack.postgres.home.secret("postgres_superuser")}
    where = {**login(stack.postgres), **superuser}
    with psycopg.connect(**{**where, "dbname": "postgres"}, autocommit=True) as session:
        session.execute(f"CREATE DATABASE preflight_old OWNER {user}".encode())

    def rights() -> Outcome:
        signed_in, rights = run_all(database.probes(Settings({}, {"gold": gold}, "Airflow"), "gold"))
        assert signed_in.ok
        return rights

    with psycopg.connect(**{**where, "dbname": "preflight_old"}, autocommit=True) as session:
        for before, words in (
            ("SELECT 1", f"{user} cannot become {OWNER}, who owns the tables"),
            ("GRANT CREATE ON SCHEMA public TO PUBLIC", f"{user} can create tables without being {OWNER}"),
        ):
            session.execute(before.encode())
            found = rights()
            assert not found.ok
            assert words in found.found
            session.execute(found.fix.removeprefix("as superuser: ").encode())
            assert rights().ok
    assert "to apply: 001_marts, " in rights().found


@pytest.mark.parametrize(
    ("extra", "message", "fix"),
    [
        ({"host_key": None}, "host key of .* is not known", "put the server's key into the extra host_key"),
        ({"host_key": "ssh-ed25519 x"}, "not a public key", "put the server's key into the extra host_key"),
        ({"no_host_key_check": "true"}, "host key is not checked", "put the server's key into the extra host_key"),
        ({"key_file": "/nowhere/key"}, "no key file /nowhere/key", "correct key_file of spark_ssh"),
        ({"key_file": "STRANGER"}, "refuses the login", "its public half to authorized_keys there"),
        ({"key_file": None, "private_key": "no key"}, "not a private key", "correct it"),
    ],
    ids=["unknown host", "bad host key", "unchecked host", "no key file", "unknown key", "bad key"],
)
def test_each_fault_of_an_ssh_connection_has_its_fix(
    extra: dict[str, str | None], message: str, fix: str, connections: Connections, stranger: Path
) -> None:
    fields = connections["spark_ssh"]
    keys = {**fields["extra"], **extra}
    known = {name: str(stranger) if value == "STRANGER" else value for name, value in keys.items() if value}
    with pytest.raises(Failure, match=message) as failure:
        Login("spark_ssh", Connection(fields["host"], fields["port"], fields["login"], extra=known))
    assert fix in failure.value.fix


def test_a_key_in_the_connection_itself_opens_the_server(connections: Connections, stack: Stack) -> None:
    fields = connections["spark_ssh"]
    extra = {"private_key": stack.ssh.client_key.read_text(), "host_key": stack.ssh.host_key}
    login = Login("spark_ssh", Connection(fields["host"], fields["port"], fields["login"], extra=extra))
    assert login.run("echo here; echo there >&2; exit 3") == Done(3, "here\nthere\n")


@contextmanager
def another_server(connections: Connections, folder: Path) -> Iterator[None]:
    """`spark_ssh` leads to an SSH server of its own, with the settings that are patched in just now."""
    server = SshServer(Home(folder, any_port=True))
    try:
        server.start()
        connections["spark_ssh"]["port"] = server.home.port("ssh")
        connections["spark_ssh"]["extra"] |= {"key_file": str(server.client_key), "host_key": server.host_key}
        yield
    finally:
        server.stop()


def test_a_server_that_drops_the_jobs_secrets_is_named(
    run: Run, connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.sshd.SETTINGS", stack_sshd.SETTINGS.replace("AcceptEnv PG* AWS_*", "AcceptEnv PG*"))
    with another_server(connections, tmp_path):
        _, outcomes = run()
    found = failed(outcomes)
    assert list(found) == ["spark_ssh AcceptEnv"]
    assert found["spark_ssh AcceptEnv"].startswith(
        "sshd does not accept AWS_SECRET_ACCESS_KEY; add `AcceptEnv PG* AWS_*`"
    )


def test_paths_on_s3_are_tried_there_with_the_key_of_the_connection(
    run: Run, s3: S3Service, connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.sshd.SPARK_DEFAULTS", stack_sshd.SPARK_DEFAULTS + s3.spark_defaults)
    monkeypatch.setenv("AIRFLOW_VAR_S3_ARCHIVE_RAW_PATH", "s3a://lake/archive_raw")
    monkeypatch.setenv("AIRFLOW_VAR_S3_CURATED_STREAM_PATH", "s3a://nowhere/curated")
    user, secret, region = s3.key.values()
    connections["aws_s3"] |= {"login": user, "password": secret, "extra": {"region_name": region}}
    with another_server(connections, tmp_path):
        _, outcomes = run()
        connections["aws_s3"]["password"] = "another-secret-key"
        _, refused = run()
    assert outcomes["S3_ARCHIVE_RAW_PATH"]["ok"]
    found = failed(outcomes)
    assert set(found) == {"S3_CURATED_STREAM_PATH", "aws_s3"}
    assert found["aws_s3"].startswith("the key was tried, and 1 paths are not writable")
    assert (
        "s3a://nowhere/curated is not writable on spark_ssh: NoSuchBucketException" in found["S3_CURATED_STREAM_PATH"]
    )
    found = failed(refused)
    assert set(found) == {"S3_ARCHIVE_RAW_PATH", "S3_CURATED_STREAM_PATH", "aws_s3"}
    assert "check aws_s3 or the server's role, the bucket" in found["S3_ARCHIVE_RAW_PATH"]


@pytest.mark.parametrize("silent", [True, False], ids=["servers that never answer", "servers that are stopped"])
def test_what_does_not_answer_is_reported_in_time(
    silent: bool, project: Path, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as servers:
        listener = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        if not silent:
            servers.close()
        connections["docker_server0"] |= {"host": f"tcp://127.0.0.1:{port}", "extra": {"plaintext": True}}
        for name in ("spark_ssh", "postgres_gold"):
            connections[name]["port"] = port
        monkeypatch.setenv("AIRFLOW_VAR_KAFKA_BROKERS", f"127.0.0.1:{port}")
        give(connections, monkeypatch)
        started = time.monotonic()
        command = [sys.executable, "-c", COMMAND, str(project)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        seconds = time.monotonic() - started
    assert (done.returncode, done.stderr) == (1, "")
    assert seconds < 15
    lines = {line.split(" s  ")[1].split(": ")[0]: line for line in done.stdout.splitlines()[:-1]}
    for what, fix in {
        "KAFKA_BROKERS": "start the brokers",
        "docker_server0": "start it, or correct docker_server0",
        "spark_ssh": "start sshd there",
        "postgres_gold": "start PostgreSQL there",
    }.items():
        assert lines[what].startswith("failed"), lines[what]
        # On a busy machine the limit of the question may come before the client's own.
        assert fix in lines[what] or (silent and "no answer within 10 s" in lines[what]), lines[what]
        assert silent or "refused" in lines[what] or what in ("KAFKA_BROKERS", "spark_ssh"), lines[what]
    assert lines["spark_ssh jobs"].endswith("not tried, since spark_ssh failed; fix spark_ssh first")
    assert connections["postgres_gold"]["password"] not in done.stdout


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
