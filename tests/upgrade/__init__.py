"""What jobs of an earlier commit have left, and where it goes."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).with_name("earlier.tar.xz")
DAYS = ("2026-05-04", "2026-05-05")
TOPIC = "tripclick.earlier"
