"""deploy/site.yml on a Debian with nothing installed: what it sets up works, and a second time it changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.airflow_api import AirflowApi
from stack.errors import StackError
from stack.follow import follow
from stack.home import free_port
from stack.settings import HOST, REPOSITORY
from tests.certificates import make_certificates
from tests.deploy.conftest import Machine

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DEPLOY"), reason="takes minutes: `make test-deploy`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a machine below a folder"),
]

PASSWORD = "it's \\ a $ecret"
WITHIN = " a $ecret"  # however a file quotes it
LAKE = "/var/lib/tripclick/lake"
ETL, LOAD = "tripclick_analytics_mart_etl", "tripclick_load_postgres"
TOLD = "/var/lib/airflow/told"
NOTIFIER = {"class": "tests.programs.tells_a_file.Tell", "arguments": {"file": TOLD, "line": "{{ run_id }} is late"}}
LATE = """\
dag_id: late
description: Has missed its deadline when it starts with a date that is over
schedule: "0 15 * * *"
deadline: {by: "15:30", notify: [late]}
tasks:
  - task_id: start
    operator: EmptyOperator
"""
AIRFLOW = [f"airflow-{name}.service" for name in ("api-server", "dag-processor", "edge", "scheduler", "triggerer")]
GROUPS = ("postgresql", "spark_server", "spark_worker", "docker_host", "airflow", "edge_worker")


@pytest.fixture(scope="session")
def ports(machine: Machine) -> dict[str, int]:
    """Of the servers that are set up, where they are not those of the machine."""
    return {"ssh": machine.port, "airflow": free_port(), "spark": free_port()}


def environment(ports: dict[str, int]) -> dict[str, Any]:
    """Production's, on one machine."""
    folders = {"S3_CURATED_STREAM_PATH": "curated_stream", "S3_ANALYTICS_MART_PATH": "analytics_mart"}
    return {
        "description": "All groups on one machine",
        "extends": "production",
        "variables": {
            **{name: f"{LAKE}/{folder}" for name, folder in folders.items()},
            "SPARK_MASTER": f"spark://{HOST}:{ports['spark']}",
            "SPARK_DRIVER_MEMORY": "1g",
            "SPARK_EXECUTOR_MEMORY": "512m",
        },
        "connections": {
            "spark_ssh": {"host": HOST, "port": ports["ssh"], "login": "spark"},
            "postgres_gold": {"host": HOST, "login": "tripclick", "schema": "tripclick"},
        },
        "schedules": False,
    }


@pytest.fixture(scope="session")
def commit(machine: Machine, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the branch `deployed` of the machine's Git server has: this commit, an environment file, a late DAG."""
    project = tmp_path_factory.mktemp("project")
    server = machine.root / "srv/tripclick.git"
    shutil.rmtree(server, ignore_errors=True)

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=project, check=True, capture_output=True, text=True).stdout

    git("clone", "--quiet", str(REPOSITORY), ".")
    pipelines = project / "pipelines"
    (pipelines / "environments/machine.yaml").write_text(yaml.safe_dump(environment(ports)), encoding="utf-8")
    (pipelines / "late.yaml").write_text(LATE, encoding="utf-8")
    with (pipelines / "defaults.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml.safe_dump({"notifiers": {"late": NOTIFIER}}))
    git("add", "--all")
    git("-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "--quiet", "-m", "For one machine")
    git("clone", "--quiet", "--bare", ".", str(server))
    git("push", "--quiet", str(server), "HEAD:deployed")
    (machine.root / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="ascii")
    return git("rev-parse", "HEAD").strip()


@pytest.fixture(scope="session")
def inventory(machine: Machine, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One machine in all groups, with what a vault has."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)

    def certificates(name: str) -> dict[str, str]:
        files = {"ca": "ca.pem", "cert": f"{name}.pem", "key": f"{name}.key"}
        return {what: (folder / file).read_text(encoding="ascii") for what, file in files.items()}

    database = "postgresql+psycopg://airflow:{{ airflow_password | urlencode }}@" + HOST
    database += ":{{ cluster.stdout.split()[2] }}/airflow?sslmode=require"
    values = {
        "repository": "/srv/tripclick.git",
        "version": "deployed",
        "project": "/opt/tripclick",
        "pipeline_environment": "machine",
        "spark_authorized_key": (machine.keys / "id.pub").read_text(encoding="ascii").strip(),
        "spark_address": HOST,
        "spark_master": f"spark://{HOST}:{ports['spark']}",
        "spark_secret": PASSWORD,
        "spark_worker_options": "--cores 2 --memory 1g",
        "spark_defaults": f"spark.sql.shuffle.partitions 3\nspark.driver.host {HOST}\n"
        "spark.master.ui.port 0\nspark.worker.ui.port 0\n",
        "postgresql_listen": HOST,  # as everything here
        "postgresql_networks": [f"{HOST}/32"],
        "tripclick_password": PASSWORD,
        "tripclick_reader_password": PASSWORD * 2,
        "airflow_password": PASSWORD,
        "docker_tls": certificates("server"),
        "docker_client_tls": certificates("client"),
        "airflow_url": f"http://{HOST}:{ports['airflow']}",
        "airflow_admin_password": PASSWORD,
        "airflow_database": database,
        "airflow_environment": {
            "AIRFLOW__API_AUTH__JWT_SECRET": PASSWORD * 5,
            "AIRFLOW__API__SECRET_KEY": PASSWORD,
            "AIRFLOW__CORE__FERNET_KEY": "FDt3rwzqAyZ06m1R_Z5rPgiv0F5BuHmAlsaM3BfT4Mw=",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "{{ airflow_database }}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "{{ airflow_database }}",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(ports["airflow"]),
        },
        "airflow_connections": {
            "postgres_gold": {"port": "{{ cluster.stdout.split()[2] | int }}", "password": PASSWORD},
            "spark_ssh": {
                "extra": {
                    "private_key": (machine.keys / "id").read_text(encoding="ascii"),
                    "host_key": machine.host_key,
                    "no_host_key_check": "false",
                }
            },
        },
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
    return {name: {"hosts": {"machine": host}, "vars": values} for name in GROUPS}


@pytest.fixture(scope="session")
def played(
    inventory: dict[str, Any], commit: str, ansible: Future[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """What two runs of the playbook said."""
    assert commit
    folder = tmp_path_factory.mktemp("played")
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    command = [str(ansible.result() / "ansible-playbook"), "-i", str(folder / "hosts.json"), "site.yml", "--diff"]
    said: list[str] = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY / "deploy", capture_output=True, text=True, check=False)
        (folder / f"run{len(said)}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        said.append(done.stdout)
    return said


def test_the_example_has_the_groups_and_the_names_of_this_inventory(inventory: dict[str, Any]) -> None:
    example = yaml.safe_load((REPOSITORY / "deploy/hosts.example.yml").read_text(encoding="utf-8"))["all"]
    groups = example["children"]
    assert groups.keys() == inventory.keys()
    named = set(example["vars"]).union(*(group.get("vars", {}) for group in groups.values()))
    assert named <= inventory["airflow"]["vars"].keys()


def test_the_second_time_nothing_is_changed(played: list[str]) -> None:
    first, second = (re.search(r"^machine .* changed=(\d+)", said, re.MULTILINE) for said in played)
    assert first
    assert second
    assert second[1] == "0", re.findall(r"TASK \[(.*?)\][^\n]*\n(?:[^T\n][^\n]*\n)*?changed:", played[1])
    assert int(first[1]) > 0 or os.environ.get("DEPLOY_ROOT")


@pytest.mark.usefixtures("played")
def test_no_password_is_shown_or_readable(machine: Machine, played: list[str]) -> None:
    assert all(PASSWORD not in said for said in played)
    places = "/etc /usr/local /home /opt /var/lib/tripclick /var/lib/airflow /var/log"
    found = machine.run(
        f"grep -rlF --exclude-dir=tests -f - {places} | xargs -r stat -c '%n %a %U %G'", text=WITHIN
    ).stdout
    assert sorted(found.splitlines()) == [
        "/etc/airflow/environment 600 airflow root",
        "/etc/tripclick/spark-defaults.conf 640 root spark",
        "/var/lib/airflow/passwords.json 600 airflow root",
    ]


@pytest.mark.usefixtures("played")
def test_a_session_of_the_jobs_user_takes_secrets_in_its_environment(machine: Machine) -> None:
    sent = {"PGPASSWORD": "a", "AWS_SECRET_ACCESS_KEY": "b", "LD_PRELOAD_X": "c"}
    done = machine.run("command -v spark-submit; echo $PGPASSWORD$AWS_SECRET_ACCESS_KEY$LD_PRELOAD_X", "spark", sent)
    assert done.stdout == "/opt/tripclick/.venv/bin/spark-submit\nab\n", done.stderr


@pytest.mark.usefixtures("played")
def test_java_starts_from_the_archive(machine: Machine) -> None:
    options = machine.told("sed -n 's/^spark.driver.defaultJavaOptions //p' /etc/tripclick/spark-defaults.conf")
    archive = re.search(r"SharedArchiveFile=([^\"]+)", options)
    assert archive
    assert machine.run(f"test -s {archive[1]}").returncode == 0


@pytest.mark.usefixtures("played")
def test_systemd_accepts_the_units_and_runs_them_now_and_after_a_boot(machine: Machine) -> None:
    units = [*AIRFLOW, "spark-master.service", "spark-worker.service", "tripclick-backup.timer"]
    done = machine.run(f"systemd-analyze verify {' '.join(units)}")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for asked, answer in (("is-active", "active"), ("is-enabled", "enabled")):
        assert machine.told(f"systemctl {asked} {' '.join(units)}").split() == [answer] * len(units)


@pytest.mark.usefixtures("api")
def test_what_it_runs_listens_where_it_is_told_to_and_nowhere_else(machine: Machine, ports: dict[str, int]) -> None:
    sockets = machine.told("ss --no-header --tcp --listening --numeric --processes").splitlines()
    addresses = [line.split()[3].rpartition(":") for line in sockets if "users:" in line]  # the others are not its own
    assert {str(port) for port in ports.values()} < {port for _, _, port in addresses}
    assert {host.removeprefix("[::ffff:").rstrip("]") for host, _, _ in addresses} == {HOST}


def sql(machine: Machine, role: str, password: str, statement: str) -> str:
    """What PostgreSQL says to a role that logs in through TLS."""
    environment = {"PGPASSWORD": password, "PGSSLMODE": "require"}
    port = machine.told("pg_lsclusters --no-header").split()[2]
    command = f"psql -At -h {HOST} -p {port} -U {role} -d tripclick -v ON_ERROR_STOP=1"
    done = machine.run(command, "spark", environment, f"{statement};")
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def api(played: list[str], ports: dict[str, int]) -> AirflowApi:
    """A login on the Airflow that the playbook has started, once it has the DAGs."""
    assert played
    api = AirflowApi(f"http://{HOST}:{ports['airflow']}", "admin", PASSWORD)
    ours = {file.stem for file in (REPOSITORY / "pipelines").rglob("tripclick_*.yaml")}
    api.wait(lambda: set(api.dags()) == {*ours, "late"}, "DAGs", 120)
    return api


def test_airflow_has_the_dags_of_the_branch_and_runs_them_on_the_cluster(
    machine: Machine, api: AirflowApi, commit: str, ports: dict[str, int]
) -> None:
    assert api.import_errors() == []
    submit = f"spark-submit --master spark://{HOST}:{ports['spark']} --conf 'spark.jars=jobs/spark/jars*/*.jar'"
    writes = f"rm -rf {LAKE} && cd /opt/tripclick && {submit} tests/deploy/writes_clicks.py {LAKE}/curated_stream"
    done = machine.run(writes, "spark")
    assert done.returncode == 0, done.stdout + done.stderr
    for dag in (ETL, LOAD):
        api.call("PATCH", f"dags/{dag}", {"is_paused": False})
        follow(api, [(dag, api.trigger(dag, {}))], dag)
        assert api.dag(dag)["bundle_version"] == commit
    assert sql(machine, "tripclick_reader", PASSWORD * 2, "SELECT sum(total_events) FROM daily_traffic") == "3\n"
    assert "Registering app" in machine.told("journalctl -u spark-master")
    said = machine.told("grep -rhF 'wrote daily_traffic' /var/lib/airflow/logs").splitlines()
    assert len(said) == 1, said  # the worker and the API server have the same files


def test_a_missed_deadline_is_told(machine: Machine, api: AirflowApi) -> None:
    api.call("PATCH", "dags/late", {"is_paused": False})
    run = {"dag_run_id": "of_a_day", "logical_date": "2024-05-05T15:00:00Z"}
    api.call("POST", "dags/late/dagRuns", run)
    api.wait(lambda: machine.run(f"test -s {TOLD}").returncode == 0, "the notifier is called", 120)
    assert machine.told(f"cat {TOLD}") == "of_a_day is late\n"
    assert "LATE late, run of_a_day" in machine.told("grep -rh 'LATE late' /var/lib/airflow/logs")


def test_databases_are_backed_up_and_restored(machine: Machine, api: AirflowApi) -> None:
    made = "SET ROLE tripclick_owner; CREATE TABLE t (n int); GRANT SELECT ON t TO tripclick_reader"
    assert "ERROR" not in sql(machine, "tripclick", PASSWORD, made + "; INSERT INTO t VALUES (42)")
    assert sql(machine, "tripclick_reader", PASSWORD * 2, "SELECT n FROM t") == "42\n"
    assert "read-only transaction" in sql(machine, "tripclick_reader", PASSWORD * 2, "CREATE TABLE u (n int)")
    assert "authentication failed" in sql(machine, "tripclick_reader", "guessed", "SELECT 1")
    dags = api.dags()

    as_postgres = "su - postgres -c '{}'"
    machine.told("systemctl start tripclick-backup.service")
    machine.told(f"systemctl stop {' '.join(AIRFLOW)}")
    for database in ("tripclick", "airflow"):
        machine.told(as_postgres.format(f'psql -c "DROP DATABASE {database}"'))
        backup = f"$(ls /var/backups/tripclick/*/{database}.dump | tail -1)"
        machine.told(as_postgres.format(f"pg_restore --create -d postgres {backup}"))
    machine.told(f"systemctl start {' '.join(AIRFLOW)}")
    assert sql(machine, "tripclick_reader", PASSWORD * 2, "SELECT n FROM t") == "42\n"
    assert "read-only transaction" in sql(machine, "tripclick_reader", PASSWORD * 2, "CREATE TABLE u (n int)")
    assert "ERROR" not in sql(machine, "tripclick", PASSWORD, "SET ROLE tripclick_owner; DROP TABLE t")
    api.wait(lambda: is_up(api), "Airflow is back", 120)
    assert api.dags() == dags


def is_up(api: AirflowApi) -> bool:
    """Whether Airflow's API server answers and its scheduler is healthy."""
    try:
        health: dict[str, Any] = api.call("GET", "monitor/health")
    except (StackError, OSError):
        return False
    return bool(health["scheduler"]["status"] == "healthy")
