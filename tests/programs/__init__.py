"""Programs that tests run in processes of their own."""

from __future__ import annotations

from pathlib import Path


def program(name: str) -> str:
    """The text of one of them."""
    return Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
