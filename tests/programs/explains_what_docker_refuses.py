"""What the operator says instead of each line of stdin, which an engine has said."""

from __future__ import annotations

import sys
from pipeline_config.operators.docker import DockerOperator

names = {"engine_conn_id": "docker_server0", "dockerfile": "jobs/producer/Dockerfile"}
operator = DockerOperator(task_id="t", image="producer:1", **names)
for words in sys.stdin.read().splitlines():
    failure = operator._failure(Exception(words))
    print(type(failure).__name__, failure, file=sys.stderr)
