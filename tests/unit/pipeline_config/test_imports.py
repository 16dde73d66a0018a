"""What a command must do without: large libraries are imported where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline_config.project import ROOT


@pytest.mark.parametrize(
    "statements",
    [
        "from pipeline_config.__main__ import main; assert main(['check']) == 0",
        "from pipeline_config import flows, project; p = project.load_project(); "
        "assert any([flows.flows(p, pipeline) for pipeline in p.pipelines])",
        "import pipeline_config.preflight",
    ],
    ids=["check", "flows of the jobs", "preflight"],
)
def test_nothing_heavy_is_imported(statements: str) -> None:
    heavy = {"airflow", "docker", "duckdb", "kafka", "paramiko", "psycopg", "pyarrow", "pyspark"}
    script = f"{statements}\nimport sys; print(sorted({heavy} & {{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
