"""The explanation of a key."""

from __future__ import annotations

import pytest

from pipeline_config.__main__ import main


def test_explain_shows_every_key_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "for_each"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tasks.for_each  (in a pipeline)\n  Maps the task")
    assert "a mapping" in out
    assert "    for_each:\n      first-date:" in out
    assert main(["explain", "retries"]) == 0
    assert capsys.readouterr().out.count("retries  (in ") == 4


def test_explain_of_an_unknown_key_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "retrys"]) == 2
    assert "did you mean 'retries'?" in capsys.readouterr().err
