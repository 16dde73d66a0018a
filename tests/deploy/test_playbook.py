"""deploy/site.yml on a Debian with nothing installed: what it sets up works, and a second time it changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from stack.settings import HOST, REPOSITORY
from tests.certificates import make_certificates
from tests.deploy.conftest import Machine

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DEPLOY"), reason="takes minutes: `make test-deploy`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a machine below a folder"),
]

PASSWORD = "it's \\ a $ecret"
SUBMIT = (
    "cd /opt/tripclick && PYTHONPATH=. exec spark-submit --master 'local[1]' --conf spark.log.level=ERROR "
    "--conf 'spark.jars=jobs/spark/jars/*.jar' jobs/spark/{}"
)


@pytest.fixture(scope="session")
def played(machine: Machine, ansible: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What two runs of the playbook said."""
    folder = tmp_path_factory.mktemp("played")
    make_certificates(folder)
    tls = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
    values = {
        "repository": "/srv/tripclick.git",
        "version": "HEAD",
        "project": "/opt/tripclick",
        "spark_authorized_key": (machine.keys / "id.pub").read_text(encoding="ascii").strip(),
        "spark_defaults": "spark.sql.shuffle.partitions 3\n",
        "postgresql_listen": HOST,  # as everything here
        "postgresql_networks": [f"{HOST}/32"],
        "tripclick_password": PASSWORD,
        "tripclick_reader_password": PASSWORD * 2,
        "airflow_password": "airflow",
        "docker_tls": {name: (folder / file).read_text(encoding="ascii") for name, file in tls.items()},
    }
    host = {
        "ansible_host": HOST,
        "ansible_port": machine.port,
        "ansible_user": "root",
        "ansible_become_method": "su",
        "ansible_ssh_private_key_file": str(machine.keys / "id"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={machine.keys}/known_hosts",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    groups = ("postgresql", "spark_server", "docker_host")
    inventory = {name: {"hosts": {"machine": host}, "vars": values} for name in groups}
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    command = [str(ansible / "ansible-playbook"), "-i", str(folder / "hosts.json"), "site.yml", "--diff"]
    said: list[str] = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY / "deploy", capture_output=True, text=True, check=False)
        (folder / f"run{len(said)}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        said.append(done.stdout)
    # Debian's script takes root's sshd for the one that is set up.
    assert machine.run("/usr/sbin/sshd").returncode == 0
    return said


def test_the_second_time_nothing_is_changed(played: list[str]) -> None:
    first, second = (re.search(r"^machine .* changed=(\d+)", said, re.MULTILINE) for said in played)
    assert first
    assert second
    assert second[1] == "0", re.findall(r"TASK \[(.*?)\][^\n]*\n(?:[^T\n][^\n]*\n)*?changed:", played[1])
    assert int(first[1]) > 0 or os.environ.get("DEPLOY_ROOT")


@pytest.mark.usefixtures("played")
def test_no_password_is_shown_or_written_to_a_file(machine: Machine, played: list[str]) -> None:
    assert all(PASSWORD not in said for said in played)
    places = "/etc /usr/local /home /opt/tripclick /var/lib/tripclick /var/log"
    assert machine.run(f"grep -rlF -f - {places}", text=PASSWORD).stdout == ""


@pytest.mark.usefixtures("played")
def test_a_session_of_the_jobs_user_runs_spark_and_takes_secrets_in_its_environment(machine: Machine) -> None:
    sent = {"PGPASSWORD": "a", "AWS_SECRET_ACCESS_KEY": "b", "LD_PRELOAD_X": "c"}
    done = machine.run("command -v spark-submit; echo $PGPASSWORD$AWS_SECRET_ACCESS_KEY$LD_PRELOAD_X", "spark", sent)
    assert done.stdout == "/opt/tripclick/.venv/bin/spark-submit\nab\n", done.stderr
    done = machine.run(SUBMIT.format("analytics_mart_etl.py --curated-path /tmp/none --mart-path /tmp/mart"), "spark")
    assert "error: there is no curated stream" in done.stdout + done.stderr


@pytest.mark.usefixtures("played")
def test_java_starts_from_the_archive(machine: Machine) -> None:
    options = machine.run("sed -n 's/^spark.driver.defaultJavaOptions //p' /etc/tripclick/spark-defaults.conf").stdout
    archive = re.search(r"SharedArchiveFile=([^\"]+)", options)
    assert archive
    assert machine.run(f"test -s {archive[1]}").returncode == 0


@pytest.mark.usefixtures("played")
def test_systemd_accepts_the_units(machine: Machine) -> None:
    done = machine.run("systemd-analyze verify /etc/systemd/system/tripclick-*")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def sql(machine: Machine, role: str, password: str, statement: str) -> str:
    """What PostgreSQL says to a role that logs in through TLS."""
    environment = {"PGPASSWORD": password, "PGSSLMODE": "require"}
    port = machine.run("pg_lsclusters --no-header").stdout.split()[2]
    command = f"psql -At -h {HOST} -p {port} -U {role} -d tripclick -v ON_ERROR_STOP=1"
    done = machine.run(command, "spark", environment, f"{statement};")
    return done.stdout + done.stderr


@pytest.mark.usefixtures("played")
def test_the_jobs_and_the_dashboards_have_their_roles(machine: Machine) -> None:
    made = "SET ROLE tripclick_owner; CREATE TABLE t (n int); GRANT SELECT ON t TO tripclick_reader"
    assert "ERROR" not in sql(machine, "tripclick", PASSWORD, made + "; INSERT INTO t VALUES (42)")
    assert sql(machine, "tripclick_reader", PASSWORD * 2, "SELECT n FROM t") == "42\n"
    assert "read-only transaction" in sql(machine, "tripclick_reader", PASSWORD * 2, "CREATE TABLE u (n int)")
    assert "authentication failed" in sql(machine, "tripclick_reader", "guessed", "SELECT 1")

    as_postgres = "su - postgres -c '{}'"
    done = machine.run(as_postgres.format("/usr/local/sbin/tripclick-backup"))
    assert done.returncode == 0, done.stderr
    lost = as_postgres.format('psql -c "DROP DATABASE tripclick"')
    assert machine.run(lost).returncode == 0
    backup = "/var/backups/tripclick/*/tripclick.dump"
    done = machine.run(as_postgres.format(f"pg_restore --create -d postgres $(ls {backup} | tail -1)"))
    assert done.returncode == 0, done.stderr
    assert sql(machine, "tripclick_reader", PASSWORD * 2, "SELECT n FROM t") == "42\n"
    assert "read-only transaction" in sql(machine, "tripclick_reader", PASSWORD * 2, "CREATE TABLE u (n int)")
    assert "ERROR" not in sql(machine, "tripclick", PASSWORD, "SET ROLE tripclick_owner; DROP TABLE t")
