"""What Airflow's provider of OpenLineage, where it is installed, asks the operators of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_config.lineage import datasets
from pipeline_config.project import load_project, root_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseOperator


class DeclaringData:
    """Of an operator whose `command` is a job's: it says what the job declares as its flow."""

    def get_openlineage_facets_on_complete(self: Any, _: object) -> OperatorLineage:
        """The data of the job, also of one that has failed."""
        from airflow.providers.common.compat.openlineage.facet import Dataset  # noqa: PLC0415  (may not be installed)
        from airflow.providers.openlineage.extractors import OperatorLineage  # noqa: PLC0415

        environment = getattr(self, "environment", None) or {}
        found = datasets(load_project(root_around(self)), self.dag_id, self.task_id, self.command, environment)
        reads, writes = ([Dataset(*dataset) for dataset in each] for each in found)
        return OperatorLineage(inputs=reads, outputs=writes)


def root_around(operator: BaseOperator) -> Path:
    """The folder of the file that Airflow parsed, or the nearest above it, that has the jobs."""
    dag = operator.get_dag()
    return root_of(Path(dag.fileloc).parent if dag else Path())
