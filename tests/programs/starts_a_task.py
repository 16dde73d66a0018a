"""Which DAGs are built when Airflow starts a task."""

from __future__ import annotations

import sys
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
from dagfactory.dagbuilder import DagBuilder

built, build = [], DagBuilder.build


def counted(self):
    built.append(self.dag_name)
    return build(self)


DagBuilder.build = counted
with _airflow_parsing_context_manager(dag_id="tripclick_load_postgres", task_id="load_to_postgres"):
    import dag_factory_loader as loader
print(*built, file=sys.stderr)
