"""Remembers what the files hold and the check found: Airflow reads the DAGs in a new process each time.

The key is the content of everything that the check reads, so that no edit is missed: pipelines, schemas, the checks and
jobs themselves, and which Python packages there are.
"""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, load_project

INPUTS = ("pipelines/**/*.yaml", "schemas/*.json", "pipeline_config/**/*.py", "jobs/**/*.py", "*.py")


def load_checked(root: Path) -> tuple[Project, list[Problem]]:
    """The project with all of its problems; from the last time (without positions) if nothing has changed since."""
    key = _key(root)
    file = root / "__pycache__" / "pipelines.json"  # where Python itself remembers what it has read
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["key"] == key:
            return load_project(root, known=known["data"]), [Problem(**problem) for problem in known["problems"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no memory yet, or not ours: check
    project = load_project(root)
    problems = check(project)
    data = {document.file: document.data for document in [*project.shared, *project.pipelines]}
    _write(file, json.dumps({"key": key, "data": data, "problems": [asdict(problem) for problem in problems]}))
    return project, problems


def _key(root: Path) -> str:
    packages = sysconfig.get_path("purelib")
    installed = Path(packages).stat().st_mtime_ns  # changes when a package comes or goes
    digest = hashlib.sha256(f"{root} {packages} {installed}".encode())
    for pattern in INPUTS:
        for path in sorted(root.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"\0{path}\0{len(content)}\0".encode())
            digest.update(content)
            if path.parent.name == "environments":
                names = {match[1] for match in PLACEHOLDER.finditer(content.decode(errors="replace"))}
                digest.update(repr([(name, os.environ.get(name)) for name in sorted(names)]).encode())
    return digest.hexdigest()


def _write(file: Path, text: str) -> None:
    """Replace the file in one step, for others read it; without leave to write there is no memory."""
    new = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(file)
