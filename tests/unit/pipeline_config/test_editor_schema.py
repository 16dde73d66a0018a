"""`schemas/generated/`: what an editor takes for right is what the check takes for right."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from pipeline_config import editor_schema
from pipeline_config.__main__ import main
from pipeline_config.argparse_parts import options
from pipeline_config.for_job import help_of, jobs_of
from pipeline_config.project import ROOT, Project, load_project

STREAM = "tripclick_streaming_curated"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipelines with the valid case that uses the rest of the dialect."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "pipelines", root / "pipelines")
    shutil.copytree(ROOT / "tests/pipelines/valid/ninth", root / "pipelines", dirs_exist_ok=True)
    return load_project(root)


@pytest.fixture(scope="module")
def schemas(project: Project) -> dict[str, Any]:
    """The generated schemas by name."""
    return editor_schema.generated(project)


def refusals(schemas: dict[str, Any], name: str, data: dict[str, Any]) -> list[str]:
    """The places that a schema refuses."""
    common = Resource.from_contents(schemas["pipeline"])
    registry: Registry[Any] = Registry().with_resource("../pipeline.schema.json", common)
    errors = jsonschema.Draft7Validator(schemas[name], registry=registry).iter_errors(data)
    return [".".join(map(str, error.absolute_path)) for error in errors]


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(inner)


def test_each_editor_schema_is_a_valid_json_schema(project: Project) -> None:
    bare = dataclasses.replace(project.defaults_file, data={**project.defaults_file.data, "notifiers": {}})
    for schema in editor_schema.generated(dataclasses.replace(project, defaults_file=bare)).values():
        jsonschema.Draft7Validator.check_schema(schema)
        assert not [part for part in parts(schema) if part.get("enum") == []], "which editors refuse"


def test_every_pipeline_fits_its_editor_schema(project: Project, schemas: dict[str, Any]) -> None:
    assert len(project.pipelines) == len(project.pipeline_files) > 9
    for document in project.pipeline_files:
        assert refusals(schemas, f"pipelines/{document.data['dag_id']}", document.data) == [], document.file
    for document in project.environment_files.values():
        assert refusals(schemas, "environment", document.data) == [], document.file


@pytest.mark.parametrize(
    ("dag_id", "key", "value"),
    [
        (STREAM, "operator", "SSHOperatr"),
        (STREAM, "connection", "docker_server0"),
        (STREAM, "command", "producer"),
        (STREAM, "job", "streaming_curate"),
        (STREAM, "arguments.topc", "clicks"),
        (STREAM, "pool", "curated_writer"),
        (STREAM, "trigger_dag_id", STREAM),
        (STREAM, "advanced", {"x": 1}),
        (STREAM, "unknown", 1),
        ("tripclick_daily_pipeline", "conf.until_caught", True),
        ("tripclick_daily_pipeline", "trigger_dag_id", "tripclick_streaming"),
        ("tripclick_daily_pipeline", "command", "producer"),
    ],
)
def test_what_the_check_refuses_of_names_is_refused_here(
    project: Project, schemas: dict[str, Any], dag_id: str, key: str, value: Any
) -> None:
    data = copy.deepcopy(project.pipeline(dag_id).place.document.data)
    number = next(number for number, task in enumerate(data["tasks"]) if "arguments" in task or "conf" in task)
    name, _, inner = key.partition(".")
    if inner:
        data["tasks"][number].setdefault(name, {})[inner] = value
    else:
        data["tasks"][number][name] = value
    assert refusals(schemas, f"pipelines/{dag_id}", data)


def test_each_job_has_its_own_options_and_types(project: Project, schemas: dict[str, Any]) -> None:
    rules = [
        (rule["if"]["properties"], rule["then"]["properties"])
        for rule in schemas["pipeline"]["properties"]["tasks"]["items"]["allOf"]
        if "properties" in rule["if"]
    ]
    proposed = {values["job"]["const"]: then["arguments"] for values, then in rules if "job" in values}
    known = jobs_of(project)
    assert {job: list(arguments["properties"]) for job, arguments in proposed.items()} == {
        job: options(parser) for job, (_, parser) in known.items()
    }
    assert proposed[STREAM.removeprefix("tripclick_")]["properties"]["max-bad-share"] == {
        "description": "Fail at the end if a larger share of the records is bad",
        "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}],
    }


def test_the_check_keeps_it_fresh(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(project.root / "pipelines", tmp_path / "pipelines")
    (tmp_path / "schemas").mkdir()
    common, ninth = (tmp_path / editor_schema.FOLDER / name for name in ("pipeline", "pipelines/ninth"))
    common, ninth = (path.with_name(f"{path.name}.schema.json") for path in (common, ninth))
    assert main(["check", "--root", str(tmp_path)]) == 0
    first = ninth.stat().st_mtime_ns
    assert "remote" in ninth.read_text(encoding="utf-8")

    def generate(_: Project) -> dict[str, Any]:
        raise AssertionError("nothing has changed")

    with monkeypatch.context() as patch:
        patch.setattr(editor_schema, "generated", generate)
        os.utime(common, ns=(first + 10**9,) * 2)
        main(["check", "--root", str(tmp_path)])
    os.utime(common, ns=(first - 10**9,) * 2)

    catalog = tmp_path / "pipelines/catalog.yaml"
    catalog.write_text(catalog.read_text(encoding="utf-8") + "  spare: {slots: 2, description: Nobody's yet}\n")
    main(["check", "--root", str(tmp_path)])
    task = json.loads(common.read_text(encoding="utf-8"))["properties"]["tasks"]["items"]
    assert "spare" in task["properties"]["pool"]["enum"]
    assert ninth.stat().st_mtime_ns == first, "what has not changed is not written"

    shutil.rmtree(tmp_path / "pipelines/cases")
    main(["check", "--root", str(tmp_path)])
    assert not ninth.exists()


def test_a_command_without_its_package_shows_no_traceback(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.root / "pipelines", tmp_path / "pipelines")
    defaults = tmp_path / "pipelines/defaults.yaml"
    text = defaults.read_text(encoding="utf-8")
    defaults.write_text(f"{text}  nowhere: {{module: 'jobs.nowhere.{{job}}', argv: ['{{job}}', '{{arguments}}']}}\n")
    common = editor_schema.generated(load_project(tmp_path))["pipeline"]
    rules = common["properties"]["tasks"]["items"]["allOf"]
    of_command = {
        rule["if"]["properties"]["command"]["const"]: rule["then"]["properties"]["job"]
        for rule in rules
        if list(rule["if"].get("properties", ())) == ["command"]
    }
    assert of_command["nowhere"] == {"not": {}}
    assert "archive_raw" in of_command["spark_submit"]["enum"]
    broken = argparse.ArgumentParser()
    broken.add_argument("--share", help="at most 100% of it")
    assert help_of(broken, "share") == "At most 100% of it"
