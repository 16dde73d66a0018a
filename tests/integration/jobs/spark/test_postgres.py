"""A PostgreSQL that speaks nothing but TLS: a job's connection says whose certificate it takes, and takes no other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.preflight import database
from pipeline_config.preflight.probe import run_all
from pipeline_config.preflight.settings import Connection, Settings
from pipeline_config.project import ROOT
from stack.home import Home
from stack.postgresql import SUPERUSER, PostgreSql
from tests.airflow_process import AirflowProcess
from tests.certificates import make_certificates
from tests.programs import program
from tests.server_fixtures import running

pytestmark = pytest.mark.integration

RUN = program("connects_to_postgresql")


class TlsPostgreSql(PostgreSql):
    """PostgreSQL with a certificate, which lets nobody in without TLS."""

    def commands(self) -> dict[str, Sequence[str]]:
        """The server with ssl=on."""
        settings = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return {self.name: [*super().commands()[self.name], *options]}

    def prepare(self) -> None:
        """The certificate and its key, for the server's user alone, and who may sign in."""
        super().prepare()
        make_certificates(self.certificates)
        for name in ("server.pem", "server.key"):
            shutil.copy(self.certificates / name, self._data)
        (self._data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
        for name in ("server.pem", "server.key", "pg_hba.conf"):
            (self._data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self._data / name, SUPERUSER, SUPERUSER)

    @property
    def certificates(self) -> Path:
        """Folder of all certificates and keys."""
        return self.home.folder("certificates")

    def fields(self, extra: dict[str, str]) -> dict[str, Any]:
        """The connection postgres_gold with this extra."""
        names = {"host": "PGHOST", "schema": "PGDATABASE", "login": "PGUSER", "password": "PGPASSWORD"}
        fields: dict[str, Any] = {name: self.connection[variable] for name, variable in names.items()}
        return {**fields, "port": int(self.connection["PGPORT"]), "extra": extra}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgreSql]:
    """A running one."""
    yield from running(TlsPostgreSql(Home(tmp_path_factory.mktemp("postgres"), any_port=True)))


def connected(server: TlsPostgreSql, extra: dict[str, str], airflow: AirflowProcess) -> tuple[int, str]:
    """How a job ends that only connects, and what it says."""
    done = airflow.run(RUN, ROOT, text=json.dumps(server.fields(extra)))
    assert "Traceback" not in done.stderr, done.stderr
    assert server.connection["PGPASSWORD"] not in done.stdout + done.stderr
    return done.returncode, (done.stdout + done.stderr).rstrip("\n")


def test_a_job_takes_the_certificate_that_its_connection_names_and_no_other(
    server: TlsPostgreSql, airflow: AirflowProcess, tmp_path: Path
) -> None:
    ours = {"sslmode": "verify-full", "sslrootcert": str(server.certificates / "ca.pem")}
    assert connected(server, ours, airflow) == (0, "True")

    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    refused = {
        "another authority": ({**ours, "sslrootcert": str(other / "ca.pem")}, "SSL error: certificate verify failed"),
        "no such file": (
            {**ours, "sslrootcert": "/nowhere/ca.pem"},
            'root certificate file "/nowhere/ca.pem" does not',
        ),
        "without TLS": ({"sslmode": "disable"}, "no pg_hba.conf entry for host"),
    }
    for case, (extra, words) in refused.items():
        code, line = connected(server, extra, airflow)
        assert (code, line.count("\n")) == (1, 0), (case, line)
        assert line.startswith("error: PostgreSQL: "), (case, line)
        assert words in line, (case, line)
        assert line.endswith("; check the connection and the server"), case


def test_preflight_checks_the_certificate_where_the_authoritys_is(server: TlsPostgreSql, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)

    def login(authority: Path) -> tuple[bool, str]:
        fields = server.fields({"sslmode": "verify-full", "sslrootcert": str(authority)})
        probes = database.probes(Settings({}, {"gold": Connection(**fields)}, "Airflow"), "gold")
        outcome = next(run_all(probes[:1]))
        return outcome.ok, outcome.found

    ok, found = login(server.certificates / "ca.pem")
    assert ok
    assert "checked" not in found
    ok, found = login(other / "ca.pem")
    assert not ok
    assert "certificate verify failed" in found
    ok, found = login(Path("/elsewhere/ca.pem"))
    assert ok
    assert found.endswith("its certificate is not checked: /elsewhere/ca.pem is not on this machine")
