"""What Airflow is given of an environment: once, with the secrets, and again only when something differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stack.airflow_import import import_settings

FILES = {"variables.json": {"A": "1"}, "pools.json": {}, "connections.json": {"gold": {"login": "x"}}}


class Commands:
    """Those that were run; import-airflow writes the files."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.connections: list[Any] = []

    def __call__(self, what: str, words: Sequence[str]) -> None:
        if what == "pipeline_config import-airflow":
            folder = Path(words[-1])
            folder.mkdir()
            for name, content in FILES.items():
                (folder / name).write_text(json.dumps(content), encoding="utf-8")
        else:
            private = json.loads(words[-1])[-1][-1]
            self.connections.append(json.loads(Path(private).read_text(encoding="utf-8")))


def test_settings_come_with_their_secrets_and_only_when_they_have_changed(tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    secrets = [{"gold": {"password": "p"}, "unknown": {"password": "q"}}] * 2 + [{"gold": {"password": "r"}}]
    assert [import_settings("production", secret, tmp_path, commands) for secret in secrets] == [True, False, True]
    assert commands.connections == [{"gold": {"login": "x", "password": word}} for word in "pr"]
    assert sorted(path.name for path in (tmp_path / "import").iterdir()) == sorted(FILES)
