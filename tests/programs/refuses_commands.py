"""How commands that no shell can take are refused."""

from __future__ import annotations

import sys
from pipeline_config.operators import ssh as operators

for command in ("echo a\0b", "echo " + "x" * operators.LONGEST_COMMAND, "echo right"):
    try:
        operators.SSHOperator(task_id="t", ssh_conn_id="none", command=command).execute()
    except Exception as error:
        print(type(error).__name__, str(error)[:80], file=sys.stderr)
