"""How a job ends: exit codes, one line for an error, signals, the end of stdin."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from jobs import cli
from jobs.console import say
from jobs.errors import NON_RETRYABLE, TERMINATED, JobError, NonRetryableError
from jobs.known_errors import INFRASTRUCTURE_ERRORS, Known
from tests.programs import program


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Put the signal handlers back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def fail(error: BaseException) -> None:
    """Raise it."""
    raise error


def end(error: BaseException | None = None) -> int:
    """The exit code of a job that raises this."""
    return cli.main(argparse.ArgumentParser(), lambda _: fail(error) if error else None, [])


def test_a_job_that_comes_to_its_end_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert end() == 0
    assert capsys.readouterr() == ("", "")


def test_a_job_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(JobError("this is wrong:\n  do that")) == 1
    assert capsys.readouterr() == ("", "error: this is wrong: do that\n")


def test_an_error_that_no_retry_fixes_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(NonRetryableError("look at this")) == NON_RETRYABLE == 65
    assert capsys.readouterr() == ("", "error: look at this\n")


@pytest.mark.parametrize("known", INFRASTRUCTURE_ERRORS, ids=lambda known: known.sign)
def test_what_comes_from_outside_is_one_line_too(capsys: pytest.CaptureFixture[str], known: Known) -> None:
    assert end(OSError(f"cannot go on: {known.sign}\n\tat a.b.C(D.java:1)")) == known.kind.exit_code
    assert capsys.readouterr() == ("", f"error: {known.message}\n")


@pytest.mark.parametrize(
    ("state", "advice", "exit_code"),
    [
        ("25006", "names the primary", 1),
        ("25P03", "the job hung", 1),
        ("40P01", "run it again", 1),
        ("42501", "preflight", NON_RETRYABLE),
        ("53100", "disk is full", 1),
        ("55P03", "raise its timeouts", 1),
        ("57014", "raise its timeouts", 1),
        ("57P01", "when it answers", 1),
    ],
)
def test_what_postgresql_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], state: str, advice: str, exit_code: int
) -> None:
    assert end(psycopg.errors.lookup(state)("COPY t, line 1: InvalidAccessKeyId")) == exit_code
    assert advice in capsys.readouterr().err


def test_a_row_that_an_error_quotes_explains_nothing() -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        end(psycopg.errors.InvalidTextRepresentation("COPY t, line 1: InvalidAccessKeyId"))


def test_other_exceptions_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_job_with_143_even_inside_except_exception(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> None:
        try:
            os.kill(os.getpid(), number)
        except Exception:  # noqa: BLE001 (what a library may do)
            pytest.fail("swallowed")

    assert cli.main(argparse.ArgumentParser(), run, []) == 143
    assert capsys.readouterr().err == "error: terminated by a signal before it had finished\n"


def test_a_progress_line_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    say("halfway")
    assert re.fullmatch(r"\d\d:\d\d:\d\d halfway\n", capsys.readouterr().out)


@pytest.mark.parametrize("moment", ["at its start", "at work", "before it could be read"])
def test_a_job_told_to_end_with_its_stdin_does(moment: str) -> None:
    environment = {**os.environ, cli.ENDS_WITH_STDIN: "true"}
    pipe = subprocess.PIPE
    closed = ["sh", "-c", 'exec "$@" <&-', "sh"] if moment == "before it could be read" else []
    words = [*closed, sys.executable, "-c", program("waits_for_its_end")]
    with subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as job:
        if moment == "at work":
            assert job.stdout
            job.stdout.readline()
        _, said = job.communicate(b"whatever comes", timeout=30)
    assert (job.returncode, said.decode()) == (TERMINATED, "error: terminated by a signal before it had finished\n")


def test_a_signal_waits_until_an_indivisible_step_has_ended() -> None:
    done: list[str] = []

    def run(_: argparse.Namespace) -> None:
        with cli.signals_deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inside")
        done.append("after")

    assert cli.main(argparse.ArgumentParser(), run, []) == TERMINATED
    assert done == ["inside"]
    with cli.signals_deferred():
        pass
