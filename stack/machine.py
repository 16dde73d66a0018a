"""Where this machine has Java, PostgreSQL and other servers' programs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from stack.errors import StackError

JAVA_VERSIONS = (17, 21)
POSTGRES_VERSION = 15


def server_program(name: str) -> str | None:
    """The path of a program that Debian may keep off a user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def java_home() -> Path:
    """A Java that Spark 4 and Kafka 4 run on: Debian's, 17 first, else JAVA_HOME, else the `java` on PATH."""
    debian = sorted(Path("/usr/lib/jvm").glob("java-*-openjdk-*/bin/java"))
    named = [Path(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []
    found = [Path(path) for path in [shutil.which("java")] if path]
    for java in [*debian, *named, *found]:
        home = java.resolve().parents[1]
        if java.is_file() and _java_version(home) in JAVA_VERSIONS:
            return home
    raise StackError("no Java 17 or 21 found: run `make install` (Debian: apt-get install default-jre-headless)")


def postgres_binaries() -> Path:
    """The folder of initdb and postgres: Debian keeps them off the PATH. The wanted version first, else the newest."""
    debian = Path("/usr/lib/postgresql")
    versions = sorted((int(path.name) for path in debian.glob("[0-9]*") if path.name.isdecimal()), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*(debian / str(version) / "bin" for version in (POSTGRES_VERSION, *versions))]
    for folder in [*folders, *([Path(on_path).parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise StackError("no PostgreSQL server found: run `make install` (Debian: apt-get install postgresql)")


def _java_version(home: Path) -> int:
    """The major version as the Java's own `release` file has it; 0 when it has none."""
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    found = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0
