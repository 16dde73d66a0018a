"""Superset: when it is set up and started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.home import Home
from stack.postgresql import PostgreSql
from stack.server import Server
from stack.superset import Superset


def test_superset_starts_again_when_what_it_was_set_up_with_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, calls = Home(tmp_path, any_port=True), list[str]()
    home.claim_port("postgres")
    home.claim_port("superset")
    superset = Superset(home, PostgreSql(home))
    monkeypatch.setattr(Server, "start", lambda _: calls.append("start"))
    monkeypatch.setattr(superset, "stop", lambda: calls.append("stop"))
    superset._stamp.write_text(superset._fingerprint(), encoding="ascii")
    superset.start()
    superset._stamp.write_text("of other assets", encoding="ascii")
    superset.start()
    assert calls == ["start", "stop", "start"]
