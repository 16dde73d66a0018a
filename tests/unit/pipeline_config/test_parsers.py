"""The jobs' own parsers: found, contained, and asked."""

from __future__ import annotations

import argparse
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from jobs import arguments
from pipeline_config import parsers
from pipeline_config.guard import time_limit


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def parser(:", "options: broken_job.py:1: SyntaxError: invalid syntax"),
        ("import sys; sys.exit(2)", 'ends the process when it is imported: is `if __name__ == "__main__":` missing?'),
        ("import os; os._exit(7)", "ends the process when it is imported"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--x'])", "ends the process when it is imported"),
        (
            "class Stop(BaseException): pass\nraise Stop('now')",
            "cannot return its options: broken_job.py:2: Stop: now",
        ),
        ("print('usage: me')\n1 / 0", "broken_job.py:2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_job_is_a_problem_and_says_nothing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    file = tmp_path / "broken_job.py"
    file.write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    parsers.job_parser.cache_clear()
    leave = os._exit
    answer = parsers.job_parser("broken_job")
    assert os._exit is leave
    assert isinstance(answer, str)
    assert said in answer
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "code", "place"),
    [
        ("endless_import", "while True:\n    pass", "[12]"),
        ("endless_parser", "import time\ndef parser():\n    time.sleep(60)", "3"),
    ],
)
def test_a_job_that_does_not_end_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str, place: str
) -> None:
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(parsers, "MAX_SECONDS", 0.1)
    parsers.job_parser.cache_clear()
    said = f"{name} cannot return its options: {name}.py:{place}: TooLongError: it takes longer than 0.1 s"
    with time_limit(10):
        assert re.fullmatch(said, str(parsers.job_parser(name)))
        assert 1 < signal.getitimer(signal.ITIMER_REAL)[0] < 10, "a limit around it goes on"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_process_that_a_job_starts_ends_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import argparse, os
if not (child := os.fork()):
    os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
parser = argparse.ArgumentParser
"""
    (tmp_path / "forking_job.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not isinstance(parsers.job_parser("forking_job"), str)


def test_what_a_jobs_own_type_raises_is_its_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import argparse
def parser():
    result = argparse.ArgumentParser()
    result.add_argument("--a", type=lambda text: {}[text])
    return result
"""
    (tmp_path / "odd_job.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    parser = parsers.job_parser("odd_job")
    assert not isinstance(parser, str)
    with pytest.raises(parsers.RefusedError, match="KeyError: 'x'"):
        parsers.parse(parser, ["--a", "x"])


def option(**settings: Any) -> argparse.ArgumentParser:
    """A parser with the option --x."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", **settings)
    return parser


@pytest.mark.parametrize(
    ("settings", "schema"),
    [
        ({}, {"type": "string"}),
        ({"type": Path}, {"type": "string"}),
        ({"choices": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": arguments.day}, {"type": "string", "format": "date"}),
        ({"type": arguments.true_or_false}, {"type": "boolean"}),
        ({"type": int}, {"type": "integer"}),
        ({"type": arguments.positive_int}, {"type": "integer", "minimum": 1}),
        ({"type": float}, {"type": "number"}),
        ({"type": arguments.positive_float}, {"type": "number", "exclusiveMinimum": 0}),
        ({"type": arguments.share}, {"type": "number", "minimum": 0, "maximum": 1}),
        ({"type": lambda text: range(8)[int(text)]}, {"type": "integer", "maximum": 7}),
    ],
)
def test_what_an_option_takes_is_found_by_asking_it(settings: dict[str, Any], schema: dict[str, Any]) -> None:
    assert parsers.values(option(**settings), "x") == schema
