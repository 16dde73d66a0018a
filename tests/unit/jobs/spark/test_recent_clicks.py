"""The folder of the recent clicks: it goes with its process, or with the next one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from jobs.spark.recent_clicks import RecentClicks


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_has_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / "tripclick_hot_abandoned"
    abandoned.mkdir()
    (abandoned / "clicks.duckdb").touch()
    with RecentClicks() as living:
        assert not abandoned.exists()
        with RecentClicks():
            assert len(list(tmp_path.iterdir())) == 2
        assert living.sql("SELECT count(*) FROM recent").fetchall() == [(0,)]
    assert not list(tmp_path.iterdir())
