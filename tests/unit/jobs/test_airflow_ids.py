"""A job knows nothing of Airflow: its messages name its options, not what an environment fills in there."""

from __future__ import annotations

import ast
import re

from pipeline_config.project import ROOT, load_project


def test_no_text_of_a_job_names_a_variable_a_connection_a_pool_or_a_dag() -> None:
    project = load_project()
    catalog = project.catalog
    ids = [*catalog.variables, *catalog.connections, *catalog.pools, *(one.dag_id for one in project.pipelines)]
    named = re.compile(rf"\b(?:{'|'.join(ids)})\b")
    texts = [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node.value)
        for path in (ROOT / "jobs").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [place for place, text in texts if named.search(text)] == []
