"""The lake's paths: whether the jobs can write there, tried on the Spark server as their user."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from pipeline_config.connection_types import CONNECTION_TYPES
from pipeline_config.preflight.probe import LIMIT_SECONDS, Failure, Once, Probe
from pipeline_config.preflight.settings import Connection, Settings
from pipeline_config.preflight.ssh import Login

PROGRAM = Path(__file__).with_name("lake_program.py")
SPARK_LIMIT = 6 * LIMIT_SECONDS  # a JVM must start there, and one request to a storage may be tried several times
SUBMIT = """\
file=$(mktemp --suffix=.py) && cat > "$file" && cd {project} &&
spark-submit --driver-memory 512m --conf spark.log.level=OFF --conf 'spark.jars=jobs/spark/jars*/*.jar' "$file" {paths}
code=$?; rm -f "$file"; exit $code"""
# A new file in the nearest folder that exists: what does not exist yet is for the job to make.
WRITE = """\
folder={path}; while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
file=$(mktemp "$folder/.preflight.XXXXXX") && rm "$file\""""


class Lake:
    """The paths that the jobs of one Spark server write, by the variables that hold them."""

    def __init__(
        self, settings: Settings, login: Once[Login], variables: list[str], projects: list[str], aws: list[str]
    ) -> None:
        self.settings = settings
        self.variables = variables
        self._login = login
        self._projects = projects
        self._aws = aws
        # All at once: each start of Spark takes seconds and a quarter of a gigabyte there.
        self._answers = Once("the storage", self._ask_storage)

    def probes(self) -> list[Probe]:
        """One of each variable and of each key."""
        fix = "check the storage, or correct the variable"
        paths = [Probe(name, partial(self._write, name), fix, self._limit(name)) for name in self.variables]
        return [*paths, *(Probe(name, partial(self._tried, name), fix, SPARK_LIMIT) for name in self._aws)]

    def _limit(self, variable: str) -> float:
        return SPARK_LIMIT if "://" in self.settings.variables.get(variable, "") else 2 * LIMIT_SECONDS

    def _write(self, variable: str) -> str:
        path = self.settings.variable(variable).removeprefix("file://")
        if "://" in path:
            why = self._answers.own().get(path, "Spark did not try it")
            key = " or ".join([*self._aws, "the server's role"])
            fix = f"check {key}, the bucket and hadoop-aws in jobs/spark/jars, or correct {variable}"
        elif path.startswith("/"):
            done = self._login.needed().run(WRITE.format(path=shlex.quote(path)))
            why = done.last_line.rpartition(": ")[2] if done.code else ""
            fix = f"give its user the permission, or correct {variable}"
        else:
            raise Failure(
                f"{path} is relative: a different folder on each machine", f"write {variable} as an absolute path"
            )
        if why:
            raise Failure(f"{path} is not writable on {self._login.what}: {why}", fix)
        return f"{path}, writable on {self._login.what}"

    def _tried(self, name: str) -> str:
        """A key is right as far as the storage takes it."""
        connection = self.settings.connection(name)
        if bool(connection.login) != bool(connection.password):
            missing = "password" if connection.login else "login"
            fix = f"give {name} both login and password, or neither: then the Spark server's role is used"
            raise Failure(f"half a key: {missing} is empty", fix)
        what = "the key" if connection.login else "the Spark server's own role, for there is no key,"
        if not self._stored():
            return f"{what} is not needed: no path is on S3"
        refused = sum(bool(why) for why in self._answers.needed().values())
        if refused:
            raise Failure(f"{what} was tried, and {refused} paths are not writable", "see their lines")
        return f"{what} was tried with each path in the storage"

    def _stored(self) -> list[str]:
        """The paths with a scheme, such as s3a://."""
        return [path for name in self.variables if "://" in (path := self.settings.variables.get(name, "").strip())]

    def _ask_storage(self) -> dict[str, str]:
        """Why each path with a scheme, such as s3a://, is not writable by Spark's own settings; empty where it is."""
        paths = self._stored()
        project = next((self.settings.variable(name) for name in self._projects), ".")
        command = SUBMIT.format(project=shlex.quote(project), paths=shlex.join(paths))
        done = self._login.needed().run(command, PROGRAM.read_text(encoding="utf-8"), self._key())
        answers = [line.split("\t") for line in done.output.splitlines() if line.count("\t") == 2]
        found = {path: why for mark, path, why in answers if mark == "preflight"}
        if not found:
            raise Failure(f"spark-submit failed: {done.last_line}", f"fix {self._login.what} Spark first")
        return found

    def _key(self) -> dict[str, str]:
        """What reaches the jobs of the AWS connection, by the same way."""
        aws = next((self.settings.connections.get(name, Connection()) for name in self._aws), Connection())
        return CONNECTION_TYPES["aws"].variables(aws, aws.extra)
