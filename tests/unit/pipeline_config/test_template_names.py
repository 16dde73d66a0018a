"""The names that templates may read are those that Airflow gives them."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline_config.templates import ATTRIBUTES, CONNECTION, CONTEXT
from tests.airflow_process import AirflowProcess
from tests.airflow_project import run
from tests.programs import program

NAMES = program("names_of_templates")


def test_the_names_that_a_template_may_read_are_airflows(airflow: AirflowProcess, project: Path) -> None:
    names = json.loads(run(airflow, NAMES, project).splitlines()[-1])
    only_in_callbacks = {"exception", "reason", "templates_dict"}
    assert set(names["context"]) - only_in_callbacks == CONTEXT
    assert set(names["dag_run"]) == ATTRIBUTES["dag_run"]
    made_by_class = {"async_get", "from_json", "from_uri", "get"}
    assert set(names["connection"]) - made_by_class == CONNECTION
    assert set(names["ti"]) == ATTRIBUTES["ti"]
    assert set(names["macros"]) - {"Any", "TYPE_CHECKING", "annotations"} == ATTRIBUTES["macros"]
