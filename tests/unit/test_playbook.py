"""The templates of deploy/, as the inventory has it. Lineage is sent as docs/operations.md says."""

from __future__ import annotations

import json
from configparser import ConfigParser
from types import SimpleNamespace

import jinja2
import pytest

from stack.settings import REPOSITORY

TEMPLATES = REPOSITORY / "deploy/templates"
URL = "http://marquez:5000"
OTHERS = {
    "ansible_managed": "Ansible",
    "airflow_url": "http://airflow",
    "repository": "https://git.example.org/tripclick.git",
    "version": "deployed",
    "archive": SimpleNamespace(stdout=""),
    "group_names": ["airflow"],
}


def rendered(name: str, **values: str | list[str]) -> str:
    """A template as Ansible renders it."""
    ansible = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    return ansible.from_string((TEMPLATES / name).read_text(encoding="utf-8")).render({**OTHERS, **values})


def test_lineage_is_sent_where_the_inventory_says() -> None:
    config = ConfigParser()
    config.read_string(rendered("airflow.cfg", openlineage_url=URL))
    assert json.loads(config["openlineage"]["transport"]) == {"type": "http", "url": URL}
    spark = rendered("spark-defaults.conf", openlineage_url=URL)
    page = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    ours = [line for line in spark.splitlines() if "openlineage" in line]
    assert len(ours) == 3
    assert "\n".join(ours) in page


@pytest.mark.parametrize(
    ("groups", "pushes"), [(["airflow"], True), (["edge_worker"], True), (["airflow", "edge_worker"], False)]
)
def test_a_worker_beside_the_api_server_does_not_push_the_logs_that_both_have(groups: list[str], pushes: bool) -> None:
    config = ConfigParser()
    config.read_string(rendered("airflow.cfg", group_names=groups))
    assert config.getboolean("edge", "push_logs", fallback=True) is pushes


def test_by_default_no_lineage_is_sent() -> None:
    assert all("lineage" not in rendered(name) for name in ("airflow.cfg", "spark-defaults.conf"))
