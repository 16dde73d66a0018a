"""What Airflow knows of an environment: its variables, pools and connections, these with their secrets."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stack.home import write_private
from stack.install_step import is_stamped

_COMMANDS = Path(__file__).with_name("airflow_commands.py")
STAMP = "imported.stamp"
Run = Callable[[str, Sequence[str]], None]


def import_settings(environment: str, secrets: Mapping[str, Mapping[str, Any]], airflow_home: Path, run: Run) -> bool:
    """Give Airflow the environment's settings and `secrets` (fields by connection id); returns whether it had to.

    Only if they have changed since the last time, so that edits in Airflow's UI stay. `run` takes a command's short
    name and its words, and raises if it fails.
    """
    folder, stamp = airflow_home / "import", airflow_home / STAMP
    shutil.rmtree(folder, ignore_errors=True)  # left from an earlier start
    writer = [sys.executable, "-m", "pipeline_config", "import-airflow", "--environment", environment]
    run("pipeline_config import-airflow", [*writer, "--output", str(folder)])
    connections = json.loads((folder / "connections.json").read_text(encoding="utf-8"))
    for name, fields in secrets.items():
        if name in connections:
            connections[name] |= fields
    private = folder / "connections-with-secrets.json"
    write_private(private, json.dumps(connections, sort_keys=True))
    files = (folder / "variables.json", folder / "pools.json", private)
    content = "".join(path.read_text(encoding="utf-8") for path in files)
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    changed = not is_stamped(stamp, fingerprint)
    if changed:
        commands = (
            ["variables", "import", str(folder / "variables.json")],
            ["pools", "import", str(folder / "pools.json")],
            ["connections", "import", "--overwrite", str(private)],
        )
        run(*airflow_commands(*commands))
        stamp.write_text(fingerprint, encoding="ascii")
    private.unlink()
    return changed


def airflow_commands(*commands: Sequence[str]) -> tuple[str, list[str]]:
    """One command that runs Airflow's, one after the other until one fails: its short name and its words."""
    what = " && ".join(f"airflow {' '.join(words[:2])}" for words in commands)
    return what, [sys.executable, "-P", str(_COMMANDS), json.dumps(commands)]
