"""Spark's and Kafka's jars, and the archives of their classes."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from stack.errors import StackError
from stack.install_step import fingerprint, is_stamped, run
from stack.machine import java_home
from stack.settings import KAFKA_CLASSES, KAFKA_JARS, MAVEN_PLUGIN, REPOSITORY, SPARK_JARS

BUILD = ("compiler:compile", "jar:jar")  # Maven's goals, with the versions that the pom names
OURS = "tripclick-"  # a jar that is built here is in no list


def install_all_jars() -> None:
    """Spark's and Kafka's, and the archive of Kafka's classes."""
    kafka = REPOSITORY / "stack" / "kafka" / "pom.xml"
    install_jars(kafka, KAFKA_JARS)
    archive_classes("Kafka", "stack.kafka_broker", KAFKA_CLASSES, kafka, Path(sys.executable))
    install_jars(REPOSITORY / "jobs" / "spark" / "pom.xml", SPARK_JARS)


def install_jars(pom: Path, folder: Path) -> None:
    """Make `folder` contain exactly the jars that `pom` names and the jars.sha256 beside it lists.

    And the one that is built from the sources in `java` beside it, if there are any.
    """
    stamp, checksums = folder / ".stamp", pom.with_name("jars.sha256")
    sources = sorted((pom.parent / "java").rglob("*.java"))
    texts = [path.read_text(encoding="utf-8") for path in (checksums, *sources)]
    wanted = fingerprint(pom, MAVEN_PLUGIN, *texts)
    if is_stamped(stamp, wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    goals = [*(BUILD if sources else ()), f"{MAVEN_PLUGIN}:copy-dependencies"]
    maven = ["mvn", "--batch-mode", "--strict-checksums", "--file", str(pom), *goals]
    run(
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
    """Create the archive that Spark drivers or Kafka brokers start from, for these packages and this Java."""
    stamp = archive.with_suffix(".stamp")
    java, program = java_home(), REPOSITORY / f"{module.replace('.', '/')}.py"
    inputs = [path.read_text(encoding="utf-8") for path in (made_of, java / "release")]
    wanted = fingerprint(program, *inputs, str(java))
    if is_stamped(stamp, wanted):
        return
    run(f"Archive of {what}'s classes", [str(python), "-m", module])
    stamp.write_text(wanted, encoding="ascii")
