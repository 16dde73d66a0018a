"""A command of stdin by SSHOperator, and the error that it raises."""

from __future__ import annotations

import sys
from pipeline_config.operators.ssh import SSHOperator

operator = SSHOperator(task_id="t", ssh_conn_id="spark_ssh", command=sys.stdin.read(), cmd_timeout=None)
operator.hook.conn_retry_attempts = 1
try:
    operator.execute({})
except Exception as error:
    print(type(error).__name__, error, file=sys.stderr)
