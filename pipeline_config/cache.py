"""Remembers what the files hold and the check found: Airflow reads the DAGs in a new process each time.

The key is the content of everything that the check reads, so that no edit is missed: pipelines, schemas, the checks and
jobs themselves, and which Python packages are installed. What is remembered was read from the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, contents_of, load_project
from pipeline_config.reader import Content, Document, content_of

CODE = ("schemas/*.json", "pipeline_config/**/*.py", "jobs/**/*.py", "*.py")
FOLDER = "PIPELINES_CACHE"  # environment variable: where the memory lies when the DAGs folder cannot be written


def load_checked(root: Path) -> tuple[Project, list[Problem]]:
    """The project with all of its problems; from the last time (without positions) if nothing has changed since."""
    contents = contents_of(root)
    key = _key(root, contents)
    file = Path(os.environ.get(FOLDER) or root / "__pycache__") / "pipelines.json"
    # It may be missing, of another version, cut off, or nested without end: then it is no memory, and the check runs.
    with suppress(Exception):
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["key"] == key:
            return _remembered(root, contents, known["files"]), _problems(known["problems"])
    project = load_project(root, contents=contents)
    problems = check(project)
    files = {
        document.file: {"data": document.data, "problems": [asdict(problem) for problem in document.problems]}
        for document in [*project.shared, *project.pipelines]
    }
    _write(file, json.dumps({"key": key, "files": files, "problems": [asdict(problem) for problem in problems]}))
    return project, problems


def _remembered(root: Path, contents: Mapping[str, Content], files: dict[str, Any]) -> Project:
    documents = {
        file: Document(file, _text(contents.get(file, b"")), known["data"], problems=_problems(known["problems"]))
        for file, known in files.items()
    }
    return load_project(root, contents=contents, known=documents)


def _problems(records: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**record) for record in records]


def _text(content: Content) -> str:
    return "" if isinstance(content, OSError) else content.decode(errors="replace")


def _key(root: Path, contents: Mapping[str, Content]) -> str:
    digest = hashlib.sha256(repr((str(root), sys.version, _installed())).encode())
    code = {path.relative_to(root).as_posix(): content_of(path) for pattern in CODE for path in root.glob(pattern)}
    for file, content in sorted({**contents, **code}.items()):
        shown = repr(content).encode() if isinstance(content, OSError) else content
        digest.update(f"\0{file}\0{len(shown)}\0".encode(errors="surrogateescape"))
        digest.update(shown)
    names = {match[1] for content in contents.values() for match in PLACEHOLDER.finditer(_text(content))}
    digest.update(repr([(name, os.environ.get(name)) for name in sorted(names)]).encode())
    return digest.hexdigest()


def _installed() -> list[str]:
    """Which packages there are, in which versions: the names of their metadata folders."""
    folders = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    return sorted(path.name for folder in folders for path in folder.glob("*.dist-info"))


def _write(file: Path, text: str) -> None:
    """Replace the file in one step, for others read it; without leave to write there is no memory."""
    new = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(file)
