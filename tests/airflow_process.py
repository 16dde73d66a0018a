"""Scripts with Airflow, without servers: to import it takes two seconds, so a process that has done it is forked.

Run beside a test it answers each request on stdin, a line of JSON with the arguments of `_work`, by a line with those
of Done.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from stack.settings import REPOSITORY
from tests.airflow_environment import airflow_environment


@dataclass(frozen=True)
class Done:
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class AirflowProcess:
    """One that has imported Airflow, and nothing that a script may want to have from its own folder."""

    process: subprocess.Popen[str]

    def run(self, script: str, folder: Path, *, text: str = "", env: Mapping[str, str] | None = None) -> Done:
        """Run a script there as `python -W ignore -c` would, with `text` on its stdin."""
        assert self.process.stdin
        assert self.process.stdout
        request = {"script": script, "folder": str(folder), "text": text, "env": dict(env or {})}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return Done(**json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowProcess]:
    """One for all tests, with the environment `local`."""
    env = {**os.environ, **airflow_environment(tmp_path_factory.mktemp("airflow"), REPOSITORY, "local")}
    command = [sys.executable, "-W", "ignore", "-m", "tests.airflow_process"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        yield AirflowProcess(process)
        assert process.stdin
        process.stdin.close()


def _work(script: str, folder: str, text: str, env: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(env)
    sys.path[0], sys.argv, sys.stdin = "", ["-c"], io.StringIO(text)
    exec(script, {"__name__": "__main__"})  # noqa: S102 (a test's own)


def _run(request: dict[str, object]) -> Done:
    """In a fork whose stdout and stderr are files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:

        def work() -> None:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _work(**request)  # type: ignore[arg-type]

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        for file in (out, err):
            file.seek(0)
        return Done(process.exitcode or 0, out.read().decode(), err.read().decode())


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # to which Airflow logs
    import airflow.sdk  # noqa: F401  (and not what operators need: a test counts that)

    for line in sys.stdin:
        answers.write(json.dumps(asdict(_run(json.loads(line)))) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
