"""Superset in its own environment: the dashboards of `dashboards/`, on the marts, through the read-only role."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from stack.errors import StackError
from stack.home import Home, write_private
from stack.install_step import is_stamped
from stack.postgresql import PostgreSql
from stack.server import Server, open_directly
from stack.settings import DASHBOARDS, DATABASE, HOST, SUPERSET_LOCK, SUPERSET_VENV

ADMIN, VIEWER = "admin", "viewer"
SETUP = Path(__file__).with_name("superset_setup.py")
SETTINGS = Path(__file__).with_name("superset_config.py")
VIEWERS = [SETTINGS, *(SETTINGS.with_name(name) for name in ("superset_viewers.py", "chart_queries.py"))]


class Superset(Server):
    """Superset with an administrator and a viewer; its metadata in SQLite, which is enough for one machine."""

    name = "superset"
    ports = ("superset",)
    start_limit: ClassVar[float] = 180.0

    def __init__(self, home: Home, postgres: PostgreSql) -> None:
        super().__init__(home)
        self._postgres = postgres

    @property
    def address(self) -> str:
        """http://host:port"""
        return f"http://{HOST}:{self.home.port('superset')}"

    def login(self, user: str = ADMIN) -> tuple[str, str, str]:
        """URL, user, password: of the administrator or the viewer."""
        return self.address, user, self.home.secret(f"superset_{user}_password", 12)

    def environment(self) -> dict[str, str]:
        """The environment with its settings and secrets, and nothing of another Python."""
        mine = super().environment().items()
        outer = {name: value for name, value in mine if not name.startswith(("PYTHON", "SUPERSET"))}
        return {
            **outer,
            "SUPERSET_CONFIG_PATH": str(SETTINGS),
            "SUPERSET_METADATA": f"sqlite:///{self._folder / 'superset.db'}",
            "SUPERSET_SECRET_KEY": self.home.secret("superset_secret_key", 42),
            "SUPERSET_HOME": str(self._folder),
        }

    def commands(self) -> dict[str, Sequence[str]]:
        """One process with threads: charts mostly wait for the database."""
        where = ["--bind", f"{HOST}:{self.home.port('superset')}"]
        workers = ["--workers", "1", "--worker-class", "gthread", "--threads", "8", "--timeout", "120"]
        program = [str(SUPERSET_VENV / "bin" / "gunicorn"), *where, *workers]
        return {self.name: [*program, "superset.app:create_app()"]}

    def start(self) -> None:
        """Start; restart if the assets have changed."""
        if not self._is_set_up():
            self.stop()
        super().start()

    def prepare(self) -> None:
        """Set up metadata, roles, users and assets, if one of them has changed."""
        if not (SUPERSET_VENV / "bin" / "gunicorn").exists():
            raise StackError("Superset is not installed: run `make dashboards`")
        if not self._postgres.is_readable("freshness"):
            raise StackError("PostgreSQL has no marts yet: run `make demo` first")
        if not self._is_set_up():
            self._set_up()
            self._stamp.write_text(self._fingerprint(), encoding="ascii")

    def probe(self) -> bool:
        """Whether its health page answers."""
        with open_directly(f"{self.address}/health", timeout=5) as answer:
            return bool(answer.read() == b"OK")

    @property
    def _folder(self) -> Path:
        return self.home.folder("superset")

    @property
    def _stamp(self) -> Path:
        return self._folder / "set-up.stamp"

    def _is_set_up(self) -> bool:
        return is_stamped(self._stamp, self._fingerprint())

    def _fingerprint(self) -> str:
        """A digest of all that the set-up depends on."""
        content = [SUPERSET_LOCK.read_bytes(), SETUP.read_bytes(), self._wanted().encode()]
        content += [path.read_bytes() for path in (*VIEWERS, *sorted(DASHBOARDS.rglob("*.yaml")))]
        return hashlib.sha256(b"\0".join(content)).hexdigest()

    def _wanted(self) -> str:
        """The input of superset_setup.py, as JSON."""
        user, password = self._postgres.reader
        wanted = {
            "admin": self.login()[2],
            "viewer": self.login(VIEWER)[2],
            "assets": str(DASHBOARDS),
            "database_uri": f"postgresql+psycopg2://{user}:{password}@{self._postgres.address}/{DATABASE}",
        }
        return json.dumps(wanted)

    def _set_up(self) -> None:
        private = self._folder / "set-up.json"
        write_private(private, self._wanted())
        log = self.home.log("superset-set-up")
        try:
            with log.open("w", encoding="utf-8") as output:
                # -P: `import superset` must not find this folder's.
                command = [str(SUPERSET_VENV / "bin" / "python"), "-P", str(SETUP), str(private)]
                done = subprocess.run(
                    command, env=self.environment(), cwd=self._folder, stdout=output, stderr=output, check=False
                )
        finally:
            private.unlink()
        if done.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            raise StackError("\n".join(["Superset could not be set up", f"  log: {log}", *lines]))
