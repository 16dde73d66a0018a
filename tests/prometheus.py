"""Debian's Prometheus, unpacked instead of installed: its package would start a server of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from stack.home import Home
from stack.install_step import alone
from stack.server import Server, open_directly
from stack.settings import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
FOLDER = REPOSITORY / ".stack-prometheus"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips the test where neither Debian nor anybody else has brought it."""
    if found := shutil.which(name):
        return found
    if not shutil.which("apt-get"):
        pytest.skip(f"no {name} on the PATH")
    with alone(Path(__file__)):
        if not FOLDER.exists():
            _unpack()
    return str(FOLDER / "usr/bin" / name)


def _unpack() -> None:
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "--quiet", "prometheus"]
        if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=True)  # it had no lists
            subprocess.run(download, cwd=folder, capture_output=True, check=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(package), f"{folder}/all"], check=True)
        shutil.move(f"{folder}/all", FOLDER)


class Prometheus(Server):
    """With the project's rules and intervals, and other targets for each job of its configuration."""

    name = "prometheus"
    ports = ("prometheus",)

    def __init__(self, home: Home, targets: Mapping[str, Sequence[str]]) -> None:
        super().__init__(home)
        self._targets = targets

    @property
    def address(self) -> str:
        """http://host:port"""
        return f"http://{self.host}:{self.home.port('prometheus')}"

    def prepare(self) -> None:
        """Its configuration."""
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
        config["rule_files"] = [str(MONITORING / name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": list(self._targets.get(job["job_name"], ()))}]
        self._config.write_text(yaml.safe_dump(config), encoding="utf-8")

    def commands(self) -> dict[str, Sequence[str]]:
        """It."""
        listen = f"--web.listen-address={self.host}:{self.home.port('prometheus')}"
        data = f"--storage.tsdb.path={self._config.parent / 'data'}"
        return {self.name: [program("prometheus"), f"--config.file={self._config}", data, listen, "--log.level=warn"]}

    def probe(self) -> bool:
        """It is ready."""
        with open_directly(f"{self.address}/-/ready", timeout=5):
            return True

    def alerts(self, state: str = "firing") -> set[tuple[str, str]]:
        """Those in a state, by name and the source or instance that they are of, if any."""
        with open_directly(f"{self.address}/api/v1/alerts", timeout=5) as answer:
            found = [alert for alert in json.load(answer)["data"]["alerts"] if alert["state"] == state]
        labels = [alert["labels"] for alert in found]
        return {(of["alertname"], of.get("source") or of.get("instance", "")) for of in labels}

    def scraped(self) -> bool:
        """Whether every target has been."""
        with open_directly(f"{self.address}/api/v1/targets", timeout=5) as answer:
            return all(target["health"] == "up" for target in json.load(answer)["data"]["activeTargets"])

    @property
    def _config(self) -> Path:
        return self.home.folder("prometheus") / "prometheus.yml"
