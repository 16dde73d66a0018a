"""Which DAGs the loader has made, what is wrong, and what a look at its file imports."""

from __future__ import annotations

import importlib
import json
import sys
from airflow.utils.file import iter_airflow_imports

for name in iter_airflow_imports("dag_factory_errors.py"):  # as the DAG processor does before it forks
    importlib.import_module(name)
before = set(sys.modules)
import dag_factory_loader as loader

heavy = {"docker", "paramiko", "sqlparse"} & (set(sys.modules) - before)
from airflow.sdk import DAG

dags = sorted(name for name, value in vars(loader).items() if isinstance(value, DAG))
result = {"dags": dags, "problems": loader.PROBLEMS, "heavy": sorted(heavy), "raised": ""}
try:
    import dag_factory_errors
except Exception as error:
    result["raised"] = f"{type(error).__name__}: {error}"
print(json.dumps(result), file=sys.stderr)
