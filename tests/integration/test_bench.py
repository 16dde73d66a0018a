"""`make bench SHORT=1` in CI: it measures, writes the table and the JSON, and fails at no figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stack.kafka_broker import KafkaBroker
from tests.bench import __main__ as bench
from tests.bench.harness import HEADER
from tests.bench.lab import Lab

pytestmark = pytest.mark.integration


def test_the_short_form_reports_in_a_table_and_as_json(
    kafka_server: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the row that needs no Spark, and with the broker that runs."""
    monkeypatch.setattr(Lab, "kafka", kafka_server)
    figures = tmp_path / "figures.json"
    words = ["producer", "--short", f"--folder={tmp_path / 'bench'}", f"--json={figures}"]
    monkeypatch.setattr(sys, "argv", ["tests.bench", *words])
    assert bench.main() == 0
    said = capsys.readouterr().out
    (row,) = json.loads(figures.read_text())["rows"]
    assert row["row"] == "batch producer"
    assert row["ratio"] == pytest.approx(row["ceiling_seconds"] / row["seconds"])
    assert f"{HEADER}\n| batch producer | {row['seconds']:.2f} | {row['ceiling_seconds']:.2f} | " in said
