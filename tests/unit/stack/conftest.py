"""What the tests of the stack share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from stack.stack import Stack

NOW = dt.datetime(2026, 11, 28, 14, 33, 20, 5, tzinfo=dt.UTC)  # a Saturday


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """The folders of a stack that is not started."""
    return cast("Stack", SimpleNamespace(home=SimpleNamespace(folder=lambda: tmp_path), log_folder=tmp_path / "log"))
