"""PostgreSQL on TCP with its own data folder, a password, and the database of the marts."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from jobs.spark.migrations import OWNER, READER, owner_sql
from stack.errors import StackError
from stack.home import write_private
from stack.machine import postgres_binaries
from stack.reader_role import reader_sql
from stack.server import Server
from stack.settings import DATABASE, DATABASE_LOGIN

SUPERUSER = "postgres"
SHARED_BUFFERS_MIB = 64
_AS_SERVER_USER = Path(__file__).with_name("as_server_user.sh")


class PostgreSql(Server):
    """PostgreSQL; `connection` is what a client needs to know."""

    name = "postgres"
    ports = ("postgres",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # fast: SIGTERM would wait for the clients to leave

    @property
    def address(self) -> str:
        """host:port"""
        return f"{self.host}:{self.home.port('postgres')}"

    @property
    def connection(self) -> dict[str, str]:
        """The libpq environment of the jobs."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.home.port("postgres")),
            "PGDATABASE": DATABASE,
            "PGUSER": DATABASE_LOGIN,
            "PGPASSWORD": self.home.secret("postgres_password"),
        }

    @property
    def login(self) -> dict[str, Any]:
        """The same as the keyword arguments of psycopg.connect."""
        names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
        return {keyword: self.connection[name] for keyword, name in names.items()}

    def commands(self) -> dict[str, Sequence[str]]:
        """The server; settings are passed here, so that a restart can change them."""
        settings = {
            "listen_addresses": self.host,
            "port": str(self.home.port("postgres")),
            "unix_socket_directories": "",
            "shared_buffers": f"{SHARED_BUFFERS_MIB}MB",
            "max_connections": "50",
            "password_encryption": "scram-sha-256",
            "timezone": "UTC",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return {self.name: self._as_server_user("postgres", *options)}

    def prepare(self) -> None:
        """Create the data folder the first time."""
        self.home.secret("postgres_password")
        if not (self._data / "PG_VERSION").exists():
            self._initialise()

    def probe(self) -> bool:
        """Whether the superuser can log in by password and gets an answer."""
        return self._execute("postgres", "SELECT 1") == [(1,)]

    def complete(self) -> None:
        """The roles, with passwords of the stack folder, and the database."""
        self.create_database(DATABASE)

    @property
    def reader(self) -> tuple[str, str]:
        """Login and password of the role that may read the marts and do nothing else."""
        return READER, self.home.secret("postgres_reader_password")

    def create_database(self, database: str) -> None:
        """Create the roles and `database` if missing: its owner, the jobs' login, and the reader."""
        roles = {
            OWNER: "NOLOGIN",
            DATABASE_LOGIN: f"LOGIN PASSWORD '{self.home.secret('postgres_password')}'",  # urlsafe: no quote in it
            READER: f"LOGIN PASSWORD '{self.reader[1]}'",
        }
        for role, kind in roles.items():
            if not self._execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                self._execute("postgres", f"CREATE ROLE {role} {kind}")
        if not self._execute("postgres", "SELECT 1 FROM pg_database WHERE datname = %s", database):
            self._execute("postgres", f'CREATE DATABASE "{database}" OWNER {OWNER}')
        # Undo what the reader may have changed of itself, its password included.
        self._execute("postgres", f"ALTER ROLE {READER} PASSWORD '{self.reader[1]}'")
        self._execute("postgres", "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        for statement in (*owner_sql(DATABASE_LOGIN, database, "public"), ";\n".join(reader_sql(database))):
            self._execute(database, statement)

    def is_readable(self, table: str) -> bool:
        """Whether the marts' database has this table or view, and READER may read it."""
        asked = "SELECT has_table_privilege(%s, oid, 'SELECT') FROM pg_class WHERE oid = to_regclass(%s)"
        return self._execute(DATABASE, asked, READER, table) == [(True,)]

    @property
    def _data(self) -> Path:
        return self.home.root / "postgres" / "data"

    def _execute(self, database: str, statement: str, *values: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(
            host=self.host,
            port=self.home.port("postgres"),
            dbname=database,
            user=SUPERUSER,
            password=self.home.secret("postgres_superuser"),
            connect_timeout=3,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def _initialise(self) -> None:
        folder = self.home.folder("postgres")
        self._data.mkdir(mode=0o700, exist_ok=True)
        password = folder / "superuser"
        write_private(password, self.home.secret("postgres_superuser"))
        if os.geteuid() == 0:
            user = pwd.getpwnam(SUPERUSER)
            for path in (self._data, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        options = ["--username", SUPERUSER, "--auth=scram-sha-256"]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        command = self._as_server_user("initdb", *options, *locale, password=password)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        password.unlink()
        if done.returncode:
            raise StackError(f"the PostgreSQL data folder cannot be created:\n{done.stdout}{done.stderr}")

    def _as_server_user(self, program: str, *options: str, password: Path | None = None) -> list[str]:
        """The command that runs a program on the data folder, as user postgres: PostgreSQL refuses to run as root."""
        command = [str(postgres_binaries() / program), *options, "-D"]
        if os.geteuid() != 0:
            return [*command, str(self._data), *([f"--pwfile={password}"] if password else [])]
        opened = [str(self._data), str(password or os.devnull)]
        given = ["--pwfile=/proc/self/fd/4"] if password else []
        return ["sh", str(_AS_SERVER_USER), *opened, *command, "/proc/self/fd/3", *given]
