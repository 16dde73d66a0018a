"""The installer needs nothing but Python, and what several processes install at once is installed by one of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.preflight.spark_server import PACKAGES
from stack import installer
from stack.errors import StackError
from stack.settings import REPOSITORY


def test_it_runs_before_any_package_is_installed() -> None:
    modules = "stack.__main__, stack.installer, stack.kafka_broker"
    bare = [sys.executable, "-S", "-c", f"import {modules}"]  # -S: without site-packages
    done = subprocess.run(bare, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_on_a_system_other_than_linux_the_message_names_one_that_works(tmp_path: Path) -> None:
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho Darwin\n", encoding="ascii")
    uname.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "stack/install.sh"], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
    )
    words = "error: this runs on Linux only: on Darwin, start it in a Debian 12 container or virtual machine\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_of_two_that_want_the_same_environment_one_makes_it_and_the_other_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = threading.Event()
    ran: list[str] = []

    def run(what: str, *_: object, **__: object) -> None:
        ran.append(what)
        folder.mkdir(exist_ok=True)
        if len(ran) > 1:
            other.set()
        else:
            assert not other.wait(0.2), "the other one did not wait"

    folder, lock = tmp_path / "venv", tmp_path / "lock"
    lock.write_text("a==1", encoding="ascii")
    monkeypatch.setattr(installer, "run", run)
    with ThreadPoolExecutor(2) as threads:
        installs = [threads.submit(installer._install_environment, "Test", folder, lock) for _ in range(2)]
        for install in installs:
            install.result()
    assert ran == ["Test environment venv", "Test packages"]


def test_an_installation_fails_when_one_of_its_parts_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise StackError("no jars")

    done: list[str] = []
    monkeypatch.setattr(installer, "missing_packages", list)
    monkeypatch.setattr(installer, "install_python", lambda: done.append("python"))
    monkeypatch.setattr(installer, "install_all_jars", fails)
    monkeypatch.setattr(installer, "archive_classes", lambda *_: done.append("archive"))
    with pytest.raises(StackError, match="no jars"):
        installer.install()
    assert done == ["python"]


def test_the_documents_build_the_image_on_a_base_that_its_digest_names() -> None:
    page = (REPOSITORY / "docs" / "servers.md").read_text(encoding="utf-8")
    builds = re.findall(r"^ *docker build (?:.*\\\n)*.*", page, re.MULTILINE)
    assert builds
    for build in builds:
        assert re.search(r"BASE_IMAGE=\S+@sha256:[0-9a-f]{64} ", build), build


@pytest.mark.parametrize(
    ("lock", "needed"),
    [
        (installer.SPARK / "requirements.lock", {"pyspark", *PACKAGES}),
        (installer.AIRFLOW_LOCK, {"apache-airflow", "dag-factory", "confluent-kafka"}),
    ],
    ids=["Spark server", "Airflow"],
)
def test_a_hosts_packages_are_as_in_the_whole_lock_file(lock: Path, needed: set[str]) -> None:
    ours, whole = packages(lock), packages(installer.LOCK)
    both = ours.keys() & whole.keys()
    assert both >= needed
    assert {name: ours[name] for name in both} == {name: whole[name] for name in both}


def packages(lock: Path) -> dict[str, str]:
    """Version and hashes, by name."""
    return dict(re.findall(r"(?ms)^([\w.\[\]-]+)==(.*?)(?=^\w|\Z)", lock.read_text(encoding="ascii")))
