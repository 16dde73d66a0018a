"""docs/guarantees.md: each promise names tests that are there."""

from __future__ import annotations

import ast
import re

from pipeline_config.project import ROOT

PAGE = ROOT / "docs" / "guarantees.md"


def test_every_promise_names_tests_that_are_there() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 5
    for row in rows:
        promise, *_, proof = row.strip("| ").split(" | ")
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", proof)
        assert named, promise
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body), f"{file}::{name}"
