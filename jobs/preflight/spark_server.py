"""The Spark server, seen through the SSH login of the jobs: Spark, Python, the jobs, the jars, the lake's paths."""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

from jobs.preflight.lake import Lake
from pipeline_config.preflight.probe import LIMIT_SECONDS, Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.ssh_server import SshServer
from pipeline_config.preflight.uses import Asked

JVM_LIMIT = 3 * LIMIT_SECONDS  # a JVM starts in seconds, of several at a time on a small server
SUMS = "cd {project} && find jobs -type f \\( -name '*.py' -o -name '*.sql' \\) -exec sha256sum {{}} +"
PACKAGES = ("duckdb", "msgspec", "psycopg", "pyarrow")  # what the driver and Spark's Python workers import
_IMPORTS = "; ".join(f"import {name}; print('{name}', {name}.__version__)" for name in PACKAGES)
PYTHON = f'"${{PYSPARK_DRIVER_PYTHON:-${{PYSPARK_PYTHON:-python3}}}}" -c "{_IMPORTS}"'

_SUM = re.compile(r"^([0-9a-f]{64})  (.+)$", re.MULTILINE)  # a login may print other lines


@dataclass
class Needs:
    """What the jobs of one Spark server need: names of variables, and of connections that travel with them."""

    projects: list[str] = field(default_factory=list)  # where the repository is
    paths: list[str] = field(default_factory=list)
    postgres: list[str] = field(default_factory=list)
    aws: list[str] = field(default_factory=list)


def ask(asked: Asked) -> list[Probe]:
    """Of the server whose login the connection is, and of what its jobs read and write."""
    here = replace(asked, uses=[use for use in asked.uses if use.connection == asked.name])
    needs = Needs(here.commands_read("path"), here.read("path"), here.declared("postgres"), here.declared("aws"))
    return SparkServer(asked.root, asked.settings, asked.name, needs).probes() if here.uses else []


class SparkServer:
    """The probes of one server."""

    def __init__(self, root: Path, settings: Settings, name: str, needs: Needs) -> None:
        self.root = root
        self.settings = settings
        self.needs = needs
        self._server = SshServer(settings, name)
        self._login = self._server.login

    def probes(self) -> list[Probe]:
        """The login first; the others wait for it."""
        needs, probe = self.needs, self._server.probe
        types = [kind for kind, names in (("postgres", needs.postgres), ("aws", needs.aws)) if names]
        return [
            self._server.signs_in(),
            probe("Spark", self._spark, JVM_LIMIT),
            *self._server.accepts(types),
            probe("Python packages", self._packages),
            *self._server.folders(needs.projects),
            *(probe("jobs", partial(self._jobs, variable)) for variable in needs.projects),
            *(probe("jars", partial(self._jars, variable)) for variable in needs.projects),
            *Lake(self.settings, self._login, needs.paths, needs.projects, needs.aws).probes(),
        ]

    def _spark(self) -> str:
        wanted = spark_version(self.root)
        done = self._login.needed().run("spark-submit --version")
        found = re.search(r"version (\d+\.\d+\.\d+\S*)", done.output)
        fix = f"install pyspark=={wanted} there, first on the PATH of a non-interactive login"
        if done.code or not found:
            raise Failure(f"spark-submit does not run: {done.last_line}", fix)
        if found[1] != wanted:
            raise Failure(f"version {found[1]} instead of {wanted}", fix)
        return found[1]

    def _packages(self) -> str:
        done = self._login.needed().run(PYTHON)
        if done.code:
            raise Failure(
                done.last_line, f"pip install {' '.join(PACKAGES)} for the driver's and the workers' Python there"
            )
        return ", ".join(done.output.splitlines())

    def _jobs(self, variable: str) -> str:
        project = self.settings.variable(variable)
        done = self._login.needed().run(SUMS.format(project=shlex.quote(project)))
        if done.code:
            raise Failure(done.last_line, f"put the repository there, or correct {variable}")
        theirs = {path: digest for digest, path in _SUM.findall(done.output)}
        ours = _sums(self.root)
        differing = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
        if differing:
            first = differing[0]
            state = "is missing" if first not in theirs else "is there only" if first not in ours else "differs"
            more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
            message = f"not the code of this machine: {first} {state}{more}"
            raise Failure(message, f"check out the same commit in {project} there")
        return f"{len(ours)} files in {project}, the same as here"

    def _jars(self, variable: str) -> str:
        project = self.settings.variable(variable)
        wanted = jars_of(self.root)
        listed = self._login.needed().run(f"ls {shlex.quote(project)}/jobs/spark/jars").output.splitlines()
        missing = sorted(wanted - set(listed))
        if missing:
            fix = "there: mvn -f jobs/spark/pom.xml compiler:compile jar:jar dependency:copy-dependencies"
            raise Failure(f"{len(missing)} jars are missing: {', '.join(missing)}", fix)
        return f"all {len(wanted)} of jobs/spark/pom.xml"


def spark_version(root: Path) -> str:
    """The version of pyspark that pyproject.toml names."""
    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    return next(str(line).removeprefix("pyspark==") for line in groups["jobs"] if line.startswith("pyspark=="))


def _sums(root: Path) -> dict[str, str]:
    """SHA-256 of each file of jobs/ that runs, by its path below the project."""
    files = [path for kind in ("*.py", "*.sql") for path in (root / "jobs").rglob(kind)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def jars_of(root: Path) -> set[str]:
    """The file names of the jars that jobs/spark/pom.xml names, and of the one that it builds."""
    maven = "{http://maven.apache.org/POM/4.0.0}"
    pom = ET.parse(root / "jobs/spark/pom.xml").getroot()  # noqa: S314  our own file
    values = {f"${{{each.tag.removeprefix(maven)}}}": each.text or "" for each in pom.find(f"{maven}properties") or []}
    names = {f"{pom.findtext(f'{maven}build/{maven}finalName')}.jar"}
    for dependency in pom.findall(f"{maven}dependencies/{maven}dependency"):
        if dependency.findtext(f"{maven}scope") == "provided":
            continue
        name = f"{dependency.findtext(f'{maven}artifactId')}-{dependency.findtext(f'{maven}version')}.jar"
        for placeholder, value in values.items():
            name = name.replace(placeholder, value)
        names.add(name)
    return names
