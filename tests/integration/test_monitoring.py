"""The alert rules by promtool: each alert fires within two minutes of its limit, and none on a quiet day."""

from __future__ import annotations

import subprocess

import pytest

from tests.prometheus import MONITORING, program


@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *words], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
