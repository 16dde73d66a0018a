"""A container by DockerOperator, as stdin asks for it, and what comes of it."""

from __future__ import annotations

import json
import sys
import types
from pipeline_config.operators.docker import DockerOperator

asked = json.load(sys.stdin)
operator = DockerOperator(task_id="t", engine_conn_id="docker_server0", xcom_all=True, **asked["arguments"])
try:
    answer = operator.execute({"ti": types.SimpleNamespace(**asked["instance"])})
except Exception as error:
    answer = f"{type(error).__name__} {error}"
print(json.dumps(answer), file=sys.stderr)
