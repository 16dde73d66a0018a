"""The servers of the stack keep their data and addresses over a restart and a crash, and let nobody else in."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from jobs.spark.migrations import OWNER
from stack.home import Home
from stack.kafka_broker import KafkaBroker
from stack.postgresql import SUPERUSER, PostgreSql
from stack.process import read_process
from stack.sshd import SshServer
from tests.server_fixtures import running

pytestmark = pytest.mark.integration


def test_kafka_keeps_its_records_over_a_restart(kafka_server: KafkaBroker) -> None:
    address = kafka_server.address
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic("restart", num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=address)
    producer.send("restart", b"kept").get(timeout=10)
    producer.close()

    kafka_server.stop()
    assert not kafka_server.is_running()
    kafka_server.start()

    assert kafka_server.address == address
    consumer = KafkaConsumer(
        "restart", bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=10000
    )
    assert next(consumer).value == b"kept"
    consumer.close()


def test_kafka_starts_from_the_archive_of_its_classes(kafka_server: KafkaBroker) -> None:
    only_with_it = {**os.environ, "JAVA_TOOL_OPTIONS": "-Xshare:on"}
    tool = [*kafka_server._java("128m"), "kafka.tools.StorageTool", "random-uuid"]
    done = subprocess.run(tool, env=only_with_it, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_postgres_keeps_its_rows_over_a_restart(postgres_server: PostgreSql) -> None:
    parameters = psycopg.conninfo.make_conninfo(**postgres_server.login, options=f"-c role={OWNER}")
    with psycopg.connect(parameters) as session:
        session.execute("CREATE TABLE stack_restart AS SELECT 1 AS kept")

    postgres_server.stop()
    postgres_server.start()

    with psycopg.connect(parameters) as session:
        assert session.execute("SELECT kept FROM stack_restart").fetchall() == [(1,)]
        session.execute("DROP TABLE stack_restart")


def test_postgres_refuses_a_wrong_password(postgres: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=postgres["PGHOST"],
            port=postgres["PGPORT"],
            dbname=postgres["PGDATABASE"],
            user=postgres["PGUSER"],
            password="wrong",
        )


def test_postgres_has_no_capability_and_one_folder_alone(postgres_server: PostgreSql) -> None:
    for process in postgres_server.daemons()[0].members():
        status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text("ascii").splitlines())
        assert {status[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Amb")} == {f"{0:016x}"}, status["Name"]
    secret = postgres_server.home.root / "secrets" / "postgres_password"
    superuser = {"user": SUPERUSER, "password": postgres_server.home.secret("postgres_superuser")}
    with psycopg.connect(**(postgres_server.login | superuser), autocommit=True) as session:
        for way in (secret, "../../secrets/postgres_password"):  # from the folder that it has been given
            with pytest.raises(psycopg.errors.ExternalRoutineException):
                session.execute(f"COPY (SELECT 1) TO PROGRAM 'cat {way}'".encode())
        session.execute("COPY (SELECT 1) TO PROGRAM 'cat PG_VERSION'")


def test_both_come_back_after_they_were_killed(kafka_server: KafkaBroker, postgres_server: PostgreSql) -> None:
    for server in (kafka_server, postgres_server):
        address = server.address
        for process in server.daemons()[0].members():
            os.kill(process.pid, signal.SIGKILL)
        server.start()
        assert server.is_ready()
        assert server.address == address


@pytest.fixture(scope="module")
def ssh(stack_home: Home) -> Iterator[SshServer]:
    """A running SSH server."""
    yield from running(SshServer(stack_home))


def test_ssh_takes_the_variables_of_postgres_and_s3_only(ssh: SshServer) -> None:
    offered = {"PGPASSWORD": "a b", "AWS_REGION": "r", "LD_PRELOAD_X": "no"}
    done = ssh.run('echo "$PGPASSWORD-$AWS_REGION-$LD_PRELOAD_X"', offered)
    assert done.stdout == "a b-r-\n"


def test_ssh_sessions_find_spark_and_java_and_the_project(ssh: SshServer) -> None:
    assert ssh.run("command -v spark-submit && test -x $JAVA_HOME/bin/java && test -d $PYTHONPATH/jobs").returncode == 0


def test_ssh_sessions_start_spark_from_the_archive_of_its_classes(ssh: SshServer) -> None:
    done = ssh.run("JAVA_TOOL_OPTIONS=-Xshare:on spark-submit --version")  # `on`: no start without the archive
    assert done.returncode == 0, done.stdout + done.stderr


def test_ssh_lets_nobody_in_without_the_key(ssh: SshServer, tmp_path: Path) -> None:
    stranger = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    user, _, address = ssh.address.partition("@")
    options = ["-F", "/dev/null", "-i", str(stranger), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    hosts = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    command = ["ssh", *options, *hosts, "-p", address.rpartition(":")[2], f"{user}@127.0.0.1", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Permission denied (publickey)" in done.stderr


def test_a_job_that_outlives_its_ssh_session_ends_with_the_server(ssh: SshServer) -> None:
    ssh.run("setsid sleep 60 >/dev/null 2>&1 </dev/null &")
    left = [process for process in ssh.daemons()[0].members() if process.pid != ssh.daemons()[0].pid]
    assert left
    ssh.stop()
    assert not [process for process in left if read_process(process.pid) == process]
    ssh.start()
