"""A worker that is killed while its job runs, and whether that ends."""

from __future__ import annotations

import os
import select
import signal
import sys
from pipeline_config.operators.local_process import LocalProcessOperator

os.mkfifo("tell")
worker = os.fork()
if not worker:
    program = [sys.executable, "-c", sys.stdin.read()]
    LocalProcessOperator(task_id="t", program=program, command=["--tell", os.path.abspath("tell")]).execute({})
with open("tell") as told:
    job = os.pidfd_open(int(told.read()))
os.kill(worker, signal.SIGKILL)
ended = select.select([job], [], [], 20)[0]
if not ended:
    signal.pidfd_send_signal(job, signal.SIGKILL)
print("ended" if ended else "goes on", file=sys.stderr)
