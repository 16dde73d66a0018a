"""The same, by a worker that is so slow that the command has spoken before anybody listens; its log is stdout."""

from __future__ import annotations

import logging
import sys
import time

import paramiko
from airflow.providers.ssh.hooks.ssh import SSHHook
from pipeline_config.operators.ssh import SSHOperator

shutdown_write = paramiko.Channel.shutdown_write


def shut_down_when_it_has_spoken(self):
    deadline = time.monotonic() + 30
    while not (len(self.in_buffer) or self.closed) and time.monotonic() < deadline:
        time.sleep(0.01)
    shutdown_write(self)


paramiko.Channel.shutdown_write = shut_down_when_it_has_spoken
logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
SSHHook.log = SSHOperator.log = logging.getLogger("task")
import tests.programs.runs_by_ssh
