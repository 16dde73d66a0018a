"""What an editor with the YAML language server shows in each kind of file: completion, hover text, squiggles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_config import editor_schema
from pipeline_config.argparse_parts import options
from pipeline_config.for_job import jobs_of
from pipeline_config.project import ROOT, load_project
from pipeline_config.reader import Document
from pipeline_config.schema import check_schema
from stack.installer import install_editor
from tests.editor.lsp import YamlServer

pytestmark = pytest.mark.integration

# kind of file: one of its keys, and what is typed of it
KINDS = {
    "pipeline": ("tags", "tag"),
    "catalog": ("connections", "conn"),
    "defaults": ("commands", "comm"),
    "environment": ("operators", "oper"),
}
FILES = {
    "pipeline": "processing/tripclick_streaming_curated.yaml",
    "catalog": "catalog.yaml",
    "defaults": "defaults.yaml",
    "environment": "environments/production.yaml",
}


@pytest.fixture(scope="module")
def server() -> Iterator[YamlServer]:
    """One server for all tests of this file."""
    install_editor()
    editor_schema.write(load_project())
    with YamlServer(ROOT) as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of file."""
    name: str = request.param
    return name


def file_of(kind: str) -> tuple[Path, str]:
    """A file of that kind, and its text."""
    path = ROOT / "pipelines" / FILES[kind]
    return path, path.read_text(encoding="utf-8")


def described(kind: str) -> tuple[str, Any]:
    """Description and example of the key, as the schema has them."""
    schema = json.loads((ROOT / "pipeline_config/schemas" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    schema = schema["properties"][KINDS[kind][0]]
    return schema["description"], schema["examples"][0]


def plain(markdown: str) -> str:
    """Without the escapes that the server puts before punctuation."""
    return re.sub(r"\\(\W)", r"\1", markdown.replace("&nbsp;", " "))


def test_a_file_as_it_is_has_no_squiggle(server: YamlServer, kind: str) -> None:
    path, text = file_of(kind)
    assert server.diagnostics(server.open(path.parent, text)) == []


def test_an_unknown_key_has_a_squiggle_under_it(server: YamlServer, kind: str) -> None:
    path, text = file_of(kind)
    found = server.diagnostics(server.open(path.parent, f"{text}unknown_key: 1\n"))
    assert [(one["message"], one["severity"]) for one in found] == [("Property unknown_key is not allowed.", 1)]
    line = len(text.splitlines())
    assert found[0]["range"] == {"start": {"line": line, "character": 0}, "end": {"line": line, "character": 11}}


def test_hovering_a_key_shows_its_description_and_example(server: YamlServer, kind: str) -> None:
    path, text = file_of(kind)
    line = [line.split(":")[0] for line in text.splitlines()].index(KINDS[kind][0])
    hover = plain(server.at("hover", server.open(path.parent, text), line, 1)["contents"]["value"])
    description, example = described(kind)
    assert description in hover
    assert yaml.safe_load(hover.split("```yaml\n")[1].split("```")[0]) == example


def test_a_key_is_completed_with_its_description(server: YamlServer, kind: str) -> None:
    path, text = file_of(kind)
    key, typed = KINDS[kind]
    without = re.sub(rf"^{key}:.*\n(?:[ #].*\n|\n)*", "", text, flags=re.MULTILINE)
    uri = server.open(path.parent, f"{without}{typed}")
    found = server.at("completion", uri, len(without.splitlines()), len(typed))["items"]
    item = {item["label"]: item for item in found}[key]
    assert item["insertText"].startswith(f"{key}:")
    documentation = item["documentation"]
    words = documentation if isinstance(documentation, str) else documentation["value"]
    assert described(kind)[0] in plain(words)


HEAD = """\
# yaml-language-server: $schema=../../schemas/generated/pipelines/tripclick_daily_pipeline.schema.json
dag_id: x
description: x
schedule: null
tasks:
  - task_id: x
"""
REMOTE = "    operator: SSHOperator\n    command: spark_submit\n    job: load_postgres\n"
DAILY = load_project().pipeline("tripclick_daily_pipeline")


def proposed(server: YamlServer, task: str) -> list[str]:
    """What is offered at the end of a task."""
    text = HEAD + task
    line = text.count("\n")
    found = server.at("completion", server.open(ROOT / "pipelines/mart", text), line, len(text.split("\n")[-1]))
    return [item["label"] for item in found["items"]]


@pytest.mark.parametrize(
    "operator",
    ["EmptyOperator", "SSHOperator", "DockerOperator", "TriggerDagRunOperator", "airflow.sdk.BaseOperator"],
)
def test_no_key_is_proposed_that_the_check_then_refuses(server: YamlServer, operator: str) -> None:
    keys = proposed(server, f"    operator: {operator}\n    ")
    assert {"pool", "dependencies"} < set(keys)
    task = {"task_id": "x", "operator": operator}
    for key in keys:
        data = {"dag_id": "x", "description": "x", "schedule": None, "tasks": [{**task, key: None}]}
        said = [found.message for found in check_schema(Document("x", data=data), "pipeline")]
        assert [words for words in said if "does not belong" in words or "unknown key" in words] == []


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("    operator: SSHOperator\n    connection: ", ["spark_ssh"]),
        ("    operator: DockerOperator\n    connection: ", ["docker_server0"]),
        ("    operator: SSHOperator\n    command: ", ["spark_submit"]),
        ("    operator: DockerOperator\n    command: producer\n    job: ", ["batch", "realtime"]),
        (f"{REMOTE}    arguments:\n      ", options(jobs_of(load_project())["load_postgres"][1])),
        ("    pool: ", list(load_project().catalog.pools)),
        ("    dependencies:\n      - ", [task.task_id for task in DAILY.tasks]),
        (
            "    operator: TriggerDagRunOperator\n    trigger_dag_id: tripclick_load_postgres\n    conf:\n      ",
            ["in_full", "max_shrink_factor", "missing_limit_days", "missing_until"],
        ),
    ],
)
def test_the_names_of_this_project_are_proposed_and_no_others(server: YamlServer, task: str, names: list[str]) -> None:
    assert sorted(proposed(server, task)) == sorted(names)
