"""The names that Airflow gives to templates."""

from __future__ import annotations

import json
import sys
import airflow.sdk.execution_time.macros as macros
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.definitions.context import Context
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.definitions.connection import Connection
from pydantic import BaseModel

public = [name for name in vars(macros) if not name.startswith("_")]
instance = {*dir(RuntimeTaskInstance), *RuntimeTaskInstance.model_fields} - set(dir(BaseModel))
record = {
    "context": sorted(Context.__annotations__),
    "dag_run": sorted(DagRun.model_fields),
    "ti": sorted(name for name in instance if not name.startswith("_")),
    "macros": public,
    "connection": [name for name in {*dir(Connection), *Connection.__annotations__} if not name.startswith("_")],
}
print(json.dumps(record), file=sys.stderr)
