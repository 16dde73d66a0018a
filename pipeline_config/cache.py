"""Remembers what the files hold and the check found: Airflow reads the DAGs in a new process each time.

The key is the content of everything that the check reads, so that no edit is missed: pipelines, schemas, the checks and
jobs themselves, and which Python packages are installed. What is remembered was read from the same bytes. When some
pipelines alone have changed, and nothing of them that other files see, they alone are read and checked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_config.checks import check, check_again
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, contents_of, load_project
from pipeline_config.reader import Content, Document

FILES, CODE = ("", "schemas"), ("pipeline_config", "jobs")  # folders with code and schemas; those with all below
ENDINGS = (".py", ".json")
FOLDER = "PIPELINES_CACHE"  # environment variable: where the memory lies when the DAGs folder cannot be written
SHARED = ("pipelines/catalog.yaml", "pipelines/defaults.yaml", "pipelines/environments/")
Memory = dict[str, Any]  # `key` of all but the pipelines; `files`, by file: hash, data and problems; `problems` of all


def load_checked(root: Path) -> tuple[Project, list[Problem]]:
    """The project with its errors, and warnings, from the last time (without positions) as far as nothing has changed.

    Warnings across files may be those of an earlier time.
    """
    contents = contents_of(root)
    key, hashes = _key(root, contents), {file: _hash(content) for file, content in contents.items()}
    file = Path(os.environ.get(FOLDER) or root / "__pycache__") / "pipelines.json"
    # It may be missing, of another version, cut off, or nested without end: then it is no memory, and the check runs.
    with suppress(Exception):
        memory: Memory = json.loads(file.read_text(encoding="utf-8"))
        if memory["key"] == key:
            changed = {name for name in hashes if memory["files"].get(name, {}).get("hash") != hashes[name]}
            project = _remembered(root, contents, memory["files"], changed)
            if not changed and not memory["files"].keys() - hashes.keys():
                return project, _problems(memory["problems"])
            if _seen(project) == _seen_before(memory["files"]):
                others = [one for one in _problems(memory["problems"]) if one.file not in changed]
                again = [document for document in project.pipelines if document.file in changed]
                problems = check_again(project, again, others)
                _write(file, key, hashes, project, problems)
                return project, problems
    project = load_project(root, contents=contents)
    problems = check(project)
    _write(file, key, hashes, project, problems)
    return project, problems


def _remembered(root: Path, contents: Mapping[str, Content], files: dict[str, Any], changed: set[str]) -> Project:
    """The project, of which those files are read that have changed."""
    documents = {
        file: Document(file, _text(contents[file]), known["data"], problems=_problems(known["problems"]))
        for file, known in files.items()
        if file in contents and file not in changed
    }
    return load_project(root, contents=contents, known=documents)


def _seen(project: Project) -> dict[str, Any]:
    return {
        document.file: _seen_of(document.file, document.data, broken=bool(document.problems))
        for document in project.pipelines
    }


def _seen_before(files: dict[str, Any]) -> dict[str, Any]:
    return {
        file: _seen_of(file, known["data"], broken=bool(known["problems"]))
        for file, known in files.items()
        if not file.startswith(SHARED)
    }


def _seen_of(file: str, data: Any, *, broken: bool) -> Any:
    """What the checks of other pipelines see of one: its name, params, the assets it updates, and what it triggers."""
    if broken or not data:
        return data.get("dag_id") if isinstance(data, dict) else PurePosixPath(file).stem
    tasks = data["tasks"]
    outlets = [task["outlets"] for task in tasks if "outlets" in task]
    return [data["dag_id"], data.get("params"), outlets, [task.get("trigger_dag_id") for task in tasks]]


def _problems(records: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**record) for record in records]


def _text(content: Content) -> str:
    return "" if isinstance(content, OSError) else content.decode(errors="replace")


def _hash(content: Content) -> str:
    return hashlib.sha256(repr(content).encode() if isinstance(content, OSError) else content).hexdigest()


def _key(root: Path, contents: Mapping[str, Content]) -> str:
    """Of all that the check reads but the pipelines."""
    digest = hashlib.sha256(repr((str(root), sys.version, _installed())).encode())
    code = dict(_code(root))
    shared = {file: content for file, content in contents.items() if file.startswith(SHARED)}
    for file, content in sorted({**shared, **code}.items()):
        digest.update(f"\0{file}\0{_hash(content)}".encode(errors="surrogateescape"))
    names = {match[1] for content in shared.values() for match in PLACEHOLDER.finditer(_text(content))}
    digest.update(repr([(name, os.environ.get(name)) for name in sorted(names)]).encode())
    return digest.hexdigest()


def _code(root: Path) -> Iterator[tuple[str, Content]]:
    """The content of each file of code or schema. By names alone: Path's objects would take most of the time."""
    folders = [(f"{root}/{name}", _names(root / name)) for name in FILES]
    folders += [(folder, files) for name in CODE for folder, _, files in os.walk(root / name)]
    for path in (f"{folder}/{file}" for folder, files in folders for file in files if file.endswith(ENDINGS)):
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                yield path, file.read()
        except OSError as error:
            yield path, error


def _installed() -> list[str]:
    """Which packages there are, in which versions: the names of their metadata folders."""
    folders = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    return sorted(name for folder in folders for name in _names(folder) if name.endswith(".dist-info"))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _write(file: Path, key: str, hashes: dict[str, str], project: Project, problems: list[Problem]) -> None:
    """Replace the file in one step, for others read it; without leave to write there is no memory."""
    files = {
        document.file: {
            "hash": hashes.get(document.file),
            "data": document.data,
            "problems": [asdict(problem) for problem in document.problems],
        }
        for document in [*project.shared, *project.pipelines]
    }
    text = json.dumps({"key": key, "files": files, "problems": [asdict(problem) for problem in problems]})
    new = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(file)
