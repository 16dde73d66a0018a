"""Which DAGs the loader has made, what is wrong, and what a look at its file imports."""

from __future__ import annotations

import gc
import importlib
import json
import sys
from airflow.utils.file import iter_airflow_imports

for name in iter_airflow_imports("dag_factory_errors.py"):  # as the DAG processor does before it forks
    importlib.import_module(name)
before = set(sys.modules)
looks = set()  # the functions that were running when Python looked for garbage


def note(*_):
    frame = sys._getframe(1)
    while frame:
        looks.add(frame.f_code.co_name)
        frame = frame.f_back


gc.callbacks.append(note)
gc.set_threshold(50)
import dag_factory_loader as loader

gc.callbacks.remove(note)

heavy = {"docker", "paramiko", "sqlparse"} & (set(sys.modules) - before)
from airflow.sdk import DAG

dags = sorted(name for name, value in vars(loader).items() if isinstance(value, DAG))
result = {"dags": dags, "problems": loader.PROBLEMS, "heavy": sorted(heavy), "raised": ""}
result["garbage"] = [gc.isenabled(), "load_into" in looks]
try:
    import dag_factory_errors
except Exception as error:
    result["raised"] = f"{type(error).__name__}: {error}"
print(json.dumps(result), file=sys.stderr)
