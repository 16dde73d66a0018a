"""`make install`: Debian packages, the Python environment, the jars and the archives of their classes.

Each only if it is missing or outdated.
Tests that need more call `install_browser`, `install_editor` or `install_superset` (`make test` runs all of them beside
its first tests) or `install_faketime`. A process that wants what another one is installing waits for it.

Imports only Python's standard library and this package's settings: it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stack.errors import StackError
from stack.machine import java_home, postgres_binaries, server_program
from stack.settings import (
    KAFKA_CLASSES,
    KAFKA_JARS,
    MAVEN_PLUGIN,
    REPOSITORY,
    SPARK_CLASSES,
    SPARK_JARS,
    SUPERSET_LOCK,
    SUPERSET_VENV,
    VENV,
)

# Debian packages by name, each with a check whether this machine has what it provides.
Present = Mapping[str, Callable[[], object]]
LOCK = REPOSITORY / "requirements.lock"
EDITOR = REPOSITORY / "tests" / "editor"
# Chromium without windows: it renders the same pages with half the work.
BROWSER = "chromium-headless-shell"
LAST_LINES = 20
BUILD = ("compiler:compile", "jar:jar")  # Maven's goals, with the versions that the pom names
OURS = "tripclick-"  # a jar that is built here is in no list


def install() -> None:
    """Install what is missing; StackError names what could not be obtained."""
    install_packages(missing_packages())
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(install_all_jars), threads.submit(install_python)]:
            done.result()
    archive_classes("Spark", "stack.spark_start", SPARK_CLASSES, LOCK, VENV / "bin" / "python")


def install_all_jars() -> None:
    """Spark's and Kafka's, and the archive of Kafka's classes."""
    kafka = REPOSITORY / "stack" / "kafka" / "pom.xml"
    install_jars(kafka, KAFKA_JARS)
    archive_classes("Kafka", "stack.kafka_broker", KAFKA_CLASSES, kafka, Path(sys.executable))
    install_jars(REPOSITORY / "jobs" / "spark" / "pom.xml", SPARK_JARS)


def install_for_tests() -> None:
    """Install what only the tests need: a browser, a language server for YAML as editors have it, and Superset."""
    _install_programs(BROWSER, "npm")
    install_editor()
    install_superset()


def install_browser() -> str:
    """The path of the browser, installed if missing."""
    _install_programs(BROWSER)
    return str(shutil.which(BROWSER))


def install_faketime() -> None:
    """What gives a process another clock."""
    _install_programs("faketime")


def install_editor() -> None:
    """Make tests/editor/node_modules contain exactly what its package-lock.json lists."""
    _install_programs("npm")
    lock, stamp = EDITOR / "package-lock.json", EDITOR / "node_modules" / ".stamp"
    wanted = _fingerprint(lock)
    with _alone(lock):
        if not _is_stamped(stamp, wanted):
            words = ["--ignore-scripts", "--no-audit", "--no-fund"]
            _run("YAML language server", ["npm", "ci", f"--prefix={EDITOR}", *words])
            stamp.write_text(wanted, encoding="ascii")


def _install_programs(*names: str) -> None:
    """Debian packages of the same names, unless the programs are there."""
    with _alone(Path(__file__)):  # two concurrent apt-get refuse each other
        install_packages(_missing({name: partial(shutil.which, name) for name in names}))


def install_superset() -> None:
    """Make .venv-superset contain exactly what dashboards/requirements.lock lists."""
    _install_environment("Superset", SUPERSET_VENV, SUPERSET_LOCK)


def missing_packages() -> list[str]:
    """The Debian packages that have to be installed on this machine."""
    root = os.geteuid() == 0
    present: Present = {
        "python3-venv": lambda: importlib.util.find_spec("ensurepip"),
        "default-jre-headless": lambda: _succeeds(java_home),
        "maven": lambda: shutil.which("mvn"),
        "postgresql": lambda: _succeeds(postgres_binaries),
        "openssh-server": lambda: server_program("sshd"),
        "openssh-client": lambda: shutil.which("ssh") and shutil.which("ssh-keygen"),
        # Only root can start an engine of its own; others use the machine's, or none.
        "docker.io": lambda: not root or server_program("dockerd"),
        "mmdebstrap": lambda: not root or shutil.which("mmdebstrap"),
    }
    return _missing(present)


def _missing(present: Present) -> list[str]:
    return [package for package, is_present in present.items() if not is_present()]


def install_packages(missing: list[str]) -> None:
    """Install missing Debian packages if root; else name them, and say how."""
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if not shutil.which("apt-get"):
        raise StackError(f"missing on this machine, by their Debian names: {' '.join(missing)}")
    if os.geteuid() != 0:
        raise StackError(f"missing on this machine; install them with\n  sudo {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run("Debian's package lists", ["apt-get", "update"], "Get:", environment=environment)
    _run(f"Debian packages {' '.join(missing)}", command, ("Get:", "Unpacking "), environment=environment)


def install_python() -> None:
    """Make .venv contain exactly what requirements.lock lists."""
    _install_environment("Python", VENV, LOCK)


def _install_environment(what: str, folder: Path, lock: Path) -> None:
    stamp = folder / "requirements.stamp"
    wanted = _fingerprint(lock, sys.version)
    with _alone(lock):
        if _is_stamped(stamp, wanted):
            return
        _run(f"{what} environment {folder.name}", [sys.executable, "-m", "venv", "--clear", str(folder)])
        count = lock.read_text(encoding="utf-8").count("==")
        # Modules are compiled when they are first imported: most never are.
        pip = [str(folder / "bin" / "pip"), "install", "--no-compile", "--no-deps", "--require-hashes", "-r", str(lock)]
        _run(f"{what} packages", pip, "Collecting ", of=count)
        stamp.write_text(wanted, encoding="ascii")


def install_jars(pom: Path, folder: Path) -> None:
    """Make `folder` contain exactly the jars that `pom` names and the jars.sha256 beside it lists.

    And the one that is built from the sources in `java` beside it, if there are any.
    """
    stamp, checksums = folder / ".stamp", pom.with_name("jars.sha256")
    sources = sorted((pom.parent / "java").rglob("*.java"))
    texts = [path.read_text(encoding="utf-8") for path in (checksums, *sources)]
    wanted = _fingerprint(pom, MAVEN_PLUGIN, *texts)
    if _is_stamped(stamp, wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    goals = [*(BUILD if sources else ()), f"{MAVEN_PLUGIN}:copy-dependencies"]
    maven = ["mvn", "--batch-mode", "--strict-checksums", "--file", str(pom), *goals]
    _run(
        f"Jars of {pom.relative_to(REPOSITORY)}",
        [*maven, f"-DoutputDirectory={folder}"],
        ("Downloaded", "[INFO] Copying"),
    )
    _verify(folder, checksums)
    stamp.write_text(wanted, encoding="ascii")


def _verify(folder: Path, checksums: Path) -> None:
    """Raise StackError unless the jars of a folder are those of a list that sha256sum has written."""
    listed = {name: digest for digest, name in map(str.split, checksums.read_text(encoding="ascii").splitlines())}
    jars = [jar for jar in folder.glob("*.jar") if not jar.name.startswith(OURS)]
    found = {f"{folder.name}/{jar.name}": hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars}
    if others := sorted(name for name, _ in listed.items() ^ found.items()):
        place = checksums.parent.relative_to(REPOSITORY)
        raise StackError(
            f"{', '.join(dict.fromkeys(others))}: not as {place}/{checksums.name} lists it; after a change of pom.xml "
            f"that is right, list them again: (cd {place} && sha256sum {folder.name}/*.jar | grep -v /{OURS} > "
            f"{checksums.name})"
        )


def archive_classes(what: str, module: str, archive: Path, made_of: Path, python: Path) -> None:
    """Make the archive that Spark's drivers or Kafka's brokers start from, for these packages and this Java."""
    stamp = archive.with_suffix(".stamp")
    java, program = java_home(), REPOSITORY / f"{module.replace('.', '/')}.py"
    inputs = [path.read_text(encoding="utf-8") for path in (made_of, java / "release")]
    wanted = _fingerprint(program, *inputs, str(java))
    if _is_stamped(stamp, wanted):
        return
    _run(f"Archive of {what}'s classes", [str(python), "-m", module])
    stamp.write_text(wanted, encoding="ascii")


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the lock of this file: a second process that wants it waits."""
    with file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(
    what: str,
    command: Sequence[str],
    counted: str | tuple[str, ...] = "",
    *,
    of: int = 0,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command and show how many lines that start with `counted` it has printed; its last lines if it fails."""
    lines: list[str] = []
    steps = 0
    live = sys.stdout.isatty()
    _say(f"{what}…", live=live)
    with subprocess.Popen(
        command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if counted and line.startswith(counted):
                steps += 1
                if live or steps % 25 == 0:
                    _say(f"{what}… {steps}{f' of {of}' if of else ''}", live=live)
    if process.returncode:
        raise StackError(f"{what}: `{' '.join(command[:4])} …` failed:\n{''.join(lines[-LAST_LINES:])}")
    _say(f"{what}: done", live=live, last=True)


def _say(text: str, *, live: bool, last: bool = False) -> None:
    start, end = ("\r\033[K", "\n" if last else "") if live else ("", "\n")
    sys.stdout.write(f"{start}  {text}{end}")
    sys.stdout.flush()


def _fingerprint(path: Path, *more: str) -> str:
    return hashlib.sha256(path.read_bytes() + "\0".join(more).encode()).hexdigest()


def _is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="ascii") == wanted


def _succeeds(find: Callable[[], object]) -> bool:
    try:
        find()
    except StackError:
        return False
    return True
