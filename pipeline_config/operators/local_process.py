"""Runs a job as a process of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from pipeline_config.job_contract import ENDS_WITH_STDIN
from pipeline_config.operators.lineage import DeclaringData, root_around
from pipeline_config.operators.shared import RenderingNamesVariables, fail_without_retries

if TYPE_CHECKING:
    from airflow.sdk import Context


class LocalProcessOperator(RenderingNamesVariables, DeclaringData):
    """Runs what a DockerOperator would run in a container as a local process, where there is no engine.

    `program` is what the image's entrypoint is; `command` the words after it. `engine_conn_id` is not used.
    """

    template_fields: Sequence[str] = ("command",)

    def __init__(
        self, *, program: Sequence[str], command: Sequence[str], engine_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.program = program
        self.command = command
        self.engine_conn_id = engine_conn_id
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002 (Airflow's signature)
        """Run the process to its end, which this one's death causes too; fails unless the exit code is 0."""
        pipe = subprocess.PIPE
        environment = {**os.environ, ENDS_WITH_STDIN: "true"}
        # No `with`: on a time-out it would wait for the process before `on_kill` can end that.
        process = self._process = subprocess.Popen(
            [*self.program, *self.command],
            cwd=root_around(self),
            env=environment,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        assert process.stdin  # noqa: S101
        assert process.stdout  # noqa: S101
        for line in process.stdout:
            self.log.info("%s", line.rstrip())
        exit_code = process.wait()
        process.stdin.close()
        process.stdout.close()
        fail_without_retries(exit_code)
        if exit_code:
            raise AirflowException(f"the process ended with exit code {exit_code}; its last lines are above")

    def on_kill(self) -> None:
        """End the process, so that it can flush."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
