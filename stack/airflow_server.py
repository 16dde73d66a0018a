"""Airflow: scheduler, triggerer, DAG processor and API server as processes of our own, on SQLite."""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from stack.airflow_import import STAMP, airflow_commands, import_settings
from stack.errors import StackError
from stack.home import write_private
from stack.install_step import is_stamped
from stack.server import Server
from stack.settings import AIRFLOW_USER, REPOSITORY

HEALTH = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class Airflow(Server):
    """Airflow with one user; `address` is its URL.

    Set `pipeline_environment`, `values` and `project` (what Airflow runs: the repository, or a copy) before the start.
    """

    name = "airflow"
    ports = ("airflow",)
    start_limit: ClassVar[float] = 180.0
    # `-s`: their log servers would listen on every interface; the API server reads the same folder.
    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "airflow-scheduler": ("scheduler", "-s"),
        "airflow-triggerer": ("triggerer", "-s"),
        "airflow-dag-processor": ("dag-processor",),
        "airflow-api-server": ("api-server",),
    }
    pipeline_environment = "local"
    values: Mapping[str, str] = {}
    project: Path = REPOSITORY

    @property
    def address(self) -> str:
        """http://host:port"""
        return f"http://{self.host}:{self.home.port('airflow')}"

    @property
    def login(self) -> tuple[str, str, str]:
        """URL, user, password."""
        return self.address, AIRFLOW_USER, self.home.secret("airflow_password", 12)

    def process_names(self) -> tuple[str, ...]:
        """The names of its four processes."""
        return tuple(self.roles)

    def commands(self) -> dict[str, Sequence[str]]:
        """The command line of each of the four processes."""
        return {name: [*_airflow(), *role] for name, role in self.roles.items()}

    def environment(self) -> dict[str, str]:
        """The caller's environment without its own Airflow; tasks that are local processes find our Python."""
        outer = {name: value for name, value in super().environment().items() if not name.startswith("AIRFLOW")}
        return {
            **outer,
            **self.values,
            "AIRFLOW_HOME": str(self._folder),
            "PATH": f"{Path(sys.executable).parent}:{outer.get('PATH', '')}",
            "PYTHONPATH": str(self.project),
            "PIPELINE_ENVIRONMENT": self.pipeline_environment,
        }

    def prepare(self) -> None:
        """Write the settings; create or migrate the database if Airflow's version has changed."""
        passwords = self._folder / "passwords.json"
        write_private(passwords, json.dumps({AIRFLOW_USER: self.login[2]}))
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self._settings(passwords))
        with (self._folder / "airflow.cfg.new").open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            parser.write(file)
        (self._folder / "airflow.cfg.new").replace(self._folder / "airflow.cfg")
        if self._changed("migrated", version("apache-airflow")):
            self.run_commands(["db", "migrate"])
            self._tune_database()
            self._done("migrated", version("apache-airflow"))

    def import_settings(self, secrets: Mapping[str, Mapping[str, Any]]) -> None:
        """Give Airflow the environment's settings, with `secrets` (fields by connection id), if they have changed."""
        if not self._has_database():
            (self._folder / STAMP).unlink(missing_ok=True)
        import_settings(self.pipeline_environment, secrets, self._folder, self._run)

    def start(self) -> None:
        """Start; restart if it runs in another pipeline environment."""
        if self._changed("environment", self.pipeline_environment):
            self.stop()
        super().start()
        self._done("environment", self.pipeline_environment)

    def probe(self) -> bool:
        """Its health page reports all four as healthy."""
        connection = http.client.HTTPConnection(self.host, self.home.port("airflow"), timeout=5)
        try:
            connection.request("GET", "/api/v2/monitor/health")
            health = json.load(connection.getresponse())
        finally:
            connection.close()
        return all(health.get(part, {}).get("status") == "healthy" for part in HEALTH)

    def run_commands(self, *commands: Sequence[str]) -> None:
        """Run Airflow commands on this Airflow, one after the other until one fails."""
        self._run(*airflow_commands(*commands))

    @property
    def _folder(self) -> Path:
        return self.home.folder("airflow")

    @property
    def _database(self) -> Path:
        return self._folder / "airflow.db"

    def _has_database(self) -> bool:
        return self._database.exists()

    def _tune_database(self) -> None:
        with sqlite3.connect(self._database) as database:
            database.execute("PRAGMA journal_mode=WAL")  # readers and the writer no longer lock each other out
        database.close()

    def _settings(self, passwords: Path) -> dict[str, dict[str, str]]:
        """What differs from Airflow's defaults: addresses, secrets, small numbers, fast reaction to edits."""
        fernet = base64.urlsafe_b64encode(hashlib.sha256(self.home.secret("airflow_fernet", 32).encode()).digest())
        return {
            "core": {
                "executor": "LocalExecutor",
                "parallelism": "8",
                "dags_folder": str(self.project),
                "load_examples": "False",
                "dagbag_import_error_traceback_depth": "0",  # the problems, not the line that raises them
                "dags_are_paused_at_creation": "False",
                "min_serialized_dag_update_interval": "2",
                "fernet_key": fernet.decode(),
                "simple_auth_manager_users": f"{AIRFLOW_USER}:admin",
                "simple_auth_manager_passwords_file": str(passwords),
                "execution_api_server_url": f"{self.address}/execution/",
            },
            "database": {"sql_alchemy_conn": f"sqlite:///{self._database}"},
            "api": {
                "host": self.host,
                "port": str(self.home.port("airflow")),
                "base_url": self.address,
                "workers": "1",
                "secret_key": self.home.secret("airflow_secret_key", 32),
                "dag_cache_ttl": "2",
            },
            "api_auth": {"jwt_secret": self.home.secret("airflow_jwt", 48)},
            "dag_processor": {
                "refresh_interval": "10",
                "min_file_process_interval": "5",
                "parsing_processes": "1",
                "print_stats_interval": "0",
                "stale_dag_threshold": "5",  # a DAG whose file is gone disappears within seconds, too
            },
            "scheduler": {"parsing_cleanup_interval": "5"},
            "logging": {"base_log_folder": str(self.home.folder("airflow", "logs")), "colored_console_log": "False"},
            "dag_factory": {"enable_telemetry": "False"},
        }

    def _changed(self, what: str, value: str) -> bool:
        return not self._has_database() or not is_stamped(self._folder / f"{what}.stamp", value)

    def _run(self, what: str, command: Sequence[str]) -> None:
        done = subprocess.run(
            [*self.within, *command],
            env=self.environment(),
            cwd=self.project,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"`{what} …` failed:\n{(done.stdout + done.stderr)[-1500:]}")

    def _done(self, what: str, value: str) -> None:
        (self._folder / f"{what}.stamp").write_text(value, encoding="utf-8")


def _airflow() -> list[str]:
    # -P: the folder that this process was started in must not precede the project that Airflow runs.
    return [sys.executable, "-P", "-m", "airflow"]
