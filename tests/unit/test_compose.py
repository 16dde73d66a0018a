"""deploy/compose.yaml: the processes and settings of the playbook's Airflow, with variables that example.env names."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from typing import Any

import jinja2
import yaml

from stack.installer import AIRFLOW_LOCK
from stack.settings import REPOSITORY
from tests.unit.test_playbook import rendered

DEPLOY = REPOSITORY / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
INTERNAL = "http://api-server:8080"  # where containers find the API server


def services() -> dict[str, Any]:
    """By name, with their variables as `example.env` has them."""
    example = (DEPLOY / "example.env").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    required = set(re.findall(r"\$\{(\w+):\?\}", TEXT))
    assert required == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    known = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: values[found[1]] or found[1], TEXT)
    found: dict[str, Any] = yaml.safe_load(known)["services"]
    return found


def test_its_processes_are_those_of_the_playbook() -> None:
    unit = jinja2.Template((DEPLOY / "templates/airflow.service").read_text(encoding="utf-8"))
    playbooks = unit.make_module({"inventory_hostname": "", "item": "edge"}).commands
    ours = {name: service["command"] for name, service in services().items() if name != "setup"}
    assert ours.keys() == playbooks.keys()
    for name, command in playbooks.items():
        kind = command.partition(" --edge-hostname")[0]  # what follows differs from host to host
        assert re.sub(" --pid .*", "", ours[name]) == f"airflow {kind}", name


def test_its_settings_are_those_of_the_playbook() -> None:
    edge, scheduler = (services()[name]["environment"] for name in ("edge", "scheduler"))
    url = edge["AIRFLOW__API__BASE_URL"]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(rendered("airflow.cfg", airflow_url=url))
    playbooks = {
        f"AIRFLOW__{section}__{option}".upper(): value
        for section in parser.sections()
        for option, value in parser[section].items()
    }
    ours = {name: value.replace(INTERNAL, url) for name, value in edge.items()}
    bundles = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    assert json.loads(ours.pop(bundles)) == json.loads(playbooks.pop(bundles))
    secret = {"AIRFLOW__API_AUTH__JWT_SECRET": "AIRFLOW_JWT_SECRET"}
    assert ours == {**playbooks, **secret, "PIPELINE_ENVIRONMENT": "production"}
    inventory = yaml.safe_load((DEPLOY / "hosts.example.yml").read_text(encoding="utf-8"))["all"]
    groups = {name: group["vars"] for name, group in inventory["children"].items() if "vars" in group}
    assert scheduler.keys() == edge.keys() | groups["airflow"]["airflow_environment"].keys()


def test_its_image_has_the_repositorys_version_and_the_packages_that_production_names() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    image = f"tripclick-airflow:{version}"
    assert f"image: ${{AIRFLOW_IMAGE:-{image}}}" in TEXT
    assert f"-t {image} " in (REPOSITORY / "docs/servers.md").read_text(encoding="utf-8")
    locked = set(re.findall(r"^\S+==\S+", AIRFLOW_LOCK.read_text(encoding="ascii"), re.MULTILINE))
    named = re.findall(r"^\w\S+==\S+", (DEPLOY / "airflow.in").read_text(encoding="ascii"), re.MULTILINE)
    assert named
    assert set(named) <= locked
