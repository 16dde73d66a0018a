"""The DAGs as Airflow stores them; so does Airflow before it compares two versions."""

from __future__ import annotations

import json
import sys
import dag_factory_loader as loader
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

dags = {name: DagSerialization.to_dict(value) for name, value in vars(loader).items() if isinstance(value, DAG)}
print(json.dumps(dags, sort_keys=True), file=sys.stderr)  # so does Airflow before it compares two versions
