"""What another repository's loaders have for Airflow, by the framework in the folder that stdin names; and bakes."""

from __future__ import annotations

import runpy
import sys

sys.path.insert(0, sys.stdin.read())
loaded = runpy.run_path("bakery_loader.py")
try:
    runpy.run_path("bakery_errors.py")
except Exception as error:
    print(type(error).__name__, error)
for dag_id in ("bread", "sales"):
    if dag_id in loaded:
        loaded[dag_id].fileloc = "bakery_loader.py"  # as Airflow's import does
        print(dag_id, {task.task_id: type(task).__name__ for task in loaded[dag_id].tasks})
task = loaded["bread"].get_task("bake")
task.program, task.command = [sys.executable, "-m", "jobs.oven"], ["bake", "--orders-path=.", "--loaves=2"]
task.execute({})
