"""The Docker engine: the mounts that it leaves behind."""

from __future__ import annotations

from pathlib import Path

from stack.docker_engine import mounts_below


def test_mounts_are_found_below_a_folder_only_and_the_innermost_come_first(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    points = ["/", "/s", "/s/run", r"/s/run/a\040b", "/stranger"]
    table.write_text("".join(f"dev {point} ext4 rw 0 0\n" for point in points), encoding="utf-8")
    assert mounts_below(Path("/s"), table) == [Path("/s/run/a b"), Path("/s/run")]
