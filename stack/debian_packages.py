"""Debian's packages: which are missing on this machine, and their installation."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from stack.errors import StackError
from stack.install_step import alone, run
from stack.machine import java_home, postgres_binaries, server_program

# Debian packages by name, each with a check whether this machine has what it provides.
Present = Mapping[str, Callable[[], object]]


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
    run("Debian's package lists", ["apt-get", "update"], "Get:", environment=environment)
    run(f"Debian packages {' '.join(missing)}", command, ("Get:", "Unpacking "), environment=environment)


def install_programs(*names: str) -> None:
    """Install Debian packages of the same names, unless the programs are there."""
    with alone(Path(__file__)):  # two concurrent apt-get refuse each other
        install_packages(_missing({name: partial(shutil.which, name) for name in names}))


def _succeeds(find: Callable[[], object]) -> bool:
    try:
        find()
    except StackError:
        return False
    return True
