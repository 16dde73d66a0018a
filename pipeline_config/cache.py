"""Caches the files' contents and the check's results: Airflow reads the DAGs in a new process each time.

The key is everything that the check reads, so that no edit is missed: the content of the YAML files, the state of
schemas, checks and jobs, and which Python packages are installed. What is remembered was read from the same bytes. When
some pipelines alone have changed, they alone are read again, and checked with those that see what has changed of them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_config.checks import check, check_again
from pipeline_config.checks.context import name_of
from pipeline_config.flows import variables_of_options
from pipeline_config.guard import TooLongError
from pipeline_config.model import Pipeline, Place
from pipeline_config.parsers import in_child_first
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, active_environment, contents_of, load_project
from pipeline_config.reader import Content, Document

if TYPE_CHECKING:
    from pipeline_config.schema import Schema

OURS = Path(__file__).parent
ENDINGS = (".py", ".json")
FOLDER = "PIPELINES_CACHE"  # environment variable: where the cache is if the DAGs folder is not writable
SHARED = ("pipelines/catalog.yaml", "pipelines/defaults.yaml", "pipelines/environments/")
Memory = dict[str, Any]  # `key` of all but the pipelines; `files`, by file: hash, data, places and problems; `problems`


def load_checked(root: Path) -> tuple[Project, list[Problem]]:
    """The project with its errors and warnings, from the cache as far as nothing has changed.

    Warnings across files may be those of an earlier time.
    """
    contents = contents_of(root)
    key, hashes = _key(root, contents), {file: _hash(content) for file, content in contents.items()}
    file = Path(os.environ.get(FOLDER) or root / "__pycache__") / "pipelines.json"
    checking = file.with_suffix(".checking")
    # It may be missing, of another version, truncated, or nested without end: then it is no memory, and the check runs.
    with suppress(Exception):
        memory: Memory = json.loads(file.read_text(encoding="utf-8"))
        if memory["key"] == key:
            project, problems, is_new = _brought_up(root, contents, hashes, memory, checking)
            if is_new:
                _write(file, key, hashes, project, problems)
            return project, problems
    project = load_project(root, contents=contents)
    with _surviving(checking):
        problems = check(project)
    _write(file, key, hashes, project, problems)
    return project, problems


@contextmanager
def _surviving(checking: Path) -> Iterator[None]:
    """The file `checking` exists while a check runs, and holds the process's id.

    If it is there from a process that is gone, its check has not returned: perhaps a job's import crashed it, as a
    broken library does. Then each job is imported in a child process first.
    """
    is_left = _is_left(checking)
    with suppress(OSError):
        checking.parent.mkdir(parents=True, exist_ok=True)
        checking.write_text(str(os.getpid()), encoding="ascii")
    try:
        with in_child_first() if is_left else nullcontext():
            yield
    finally:
        with suppress(OSError):
            checking.unlink()


def _is_left(checking: Path) -> bool:
    try:
        process = int(checking.read_text(encoding="ascii"))
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False  # there is none, it is being written, or its process is another user's
    return process == os.getpid()  # an earlier process of the same id, as after a container's restart


def _brought_up(
    root: Path, contents: Mapping[str, Content], hashes: Mapping[str, str], memory: Memory, checking: Path
) -> tuple[Project, list[Problem], bool]:
    """The project and its problems, and whether something has changed.

    Read are the files that have changed; checked are they, and those that see what has changed of them.
    """
    before = {
        file: Document(
            file, _text(contents.get(file, b"")), known["data"], _problems(known["problems"]), known["places"]
        )
        for file, known in memory["files"].items()
    }
    hash_before = {file: known["hash"] for file, known in memory["files"].items()}
    changed = {file for file in {**hash_before, **hashes} if hash_before.get(file) != hashes.get(file)}
    same = {file: document for file, document in before.items() if file not in changed}
    project, problems = load_project(root, contents=contents, known=same), _problems(memory["problems"])
    if not changed:
        return project, problems, False
    names, again = _to_check(project, changed, [document for file, document in before.items() if file in changed])
    others = [found for found in problems if found.file not in changed.union(document.file for document in again)]
    steady = {document.file for document in again} - changed - {found.file for found in problems}
    with _surviving(checking):
        return project, check_again(project, again, others, dict.fromkeys(steady, names)), True


class _Seen(NamedTuple):
    """What the checks of other pipelines read of one: its name, its params (None if it is broken), what it triggers."""

    name: str
    params: Mapping[str, Schema] | None
    triggers: list[str]


def _to_check(project: Project, changed: set[str], before: list[Document]) -> tuple[frozenset[str], list[Document]]:
    """The DAGs of which others see a change; the pipelines that have changed, and those that depend on them.

    They do so by a name, by what they trigger, or by an option.
    """
    was = {document.file: Pipeline.of(Place(document), document.data) for document in before if not document.problems}
    now = {pipeline.file: pipeline for pipeline in project.pipelines}
    files = {document.file: document for document in project.pipeline_files}
    old = [_seen(document, was.get(document.file)) for document in before]
    new = [_seen(document, now.get(file)) for file, document in files.items() if file in changed]
    names = frozenset(one.name for one in [*old, *new] if old != new)
    depending = set(changed)
    if names:
        seen = {file: _seen(document, now.get(file)) for file, document in files.items()}
        depending |= {file for file, one in seen.items() if one.name in names or one.triggers}
    if differing := _variables(was.values()) ^ _variables(now[file] for file in now.keys() & changed):
        others = _variables(now[file] for file in now.keys() - changed)
        options = {option for option, _ in differing - others}
        depending |= {file for file, pipeline in now.items() if not options.isdisjoint(_options(pipeline))}
    return names, [document for file, document in files.items() if file in depending]


def _variables(pipelines: Iterable[Pipeline]) -> set[tuple[str, str]]:
    """The variables that tasks pass to options: elsewhere a constant must have the form of such a variable."""
    return {(option, name) for pipeline in pipelines for _, option, name in variables_of_options(pipeline)}


def _options(pipeline: Pipeline) -> set[str]:
    return {option for task in pipeline.tasks for option in task.arguments}


def _seen(document: Document, pipeline: Pipeline | None) -> _Seen:
    if pipeline is None:
        return _Seen(name_of(document), None, [])
    return _Seen(
        pipeline.dag_id, pipeline.params, [task.trigger_dag_id for task in pipeline.tasks if task.trigger_dag_id]
    )


def _problems(records: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**record) for record in records]


def _text(content: Content) -> str:
    return "" if isinstance(content, OSError) else content.decode(errors="replace")


def _hash(content: Content) -> str:
    return hashlib.sha256(repr(content).encode() if isinstance(content, OSError) else content).hexdigest()


def _key(root: Path, contents: Mapping[str, Content]) -> str:
    """A hash of all that the check reads, except the pipelines."""
    digest = hashlib.sha256(repr((str(root), sys.version, active_environment(), _installed())).encode())
    shared = {file: content for file, content in contents.items() if file.startswith(SHARED)}
    states = {file: _hash(content) for file, content in shared.items()}
    states |= _code(root, " ".join(map(_text, shared.values())))
    for file, state in sorted(states.items()):
        digest.update(f"\0{file}\0{state}".encode(errors="surrogateescape"))
    names = {match[1] for content in shared.values() for match in PLACEHOLDER.finditer(_text(content))}
    digest.update(repr([(name, os.environ.get(name)) for name in sorted(names)]).encode())
    return digest.hexdigest()


def _code(root: Path, shared: str) -> dict[str, str]:
    """The state of each file of code or schema that the check reads: its size, its times, its inode.

    They are this package, the modules beside pipelines/, and the packages there that the shared files name: `jobs` of
    `jobs.spark.{job}`. Python itself imports no change of which size and time say nothing; to read all files would take
    a tenth of the loader's time.
    """
    packages = {*_PACKAGE.findall(shared)}.intersection(_names(root))
    folders = {OURS, *(root / package for package in packages)}  # this package may be one of them
    return dict(itertools.chain(_states(root, whole=False), *map(_states, folders)))


def _states(folder: Path | str, *, whole: bool = True) -> Iterator[tuple[str, str]]:
    """The code and schemas in a folder, and in those inside it. By names: Path's objects would take most of the time.

    A pipe is only looked at; to read it would be to wait.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ENDINGS):
                yield entry.path, _state(entry)
            elif whole and entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                yield from _states(entry.path)


def _state(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError as error:
        return repr(error)
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


_PACKAGE = re.compile(r"(?<![\w./])([A-Za-z_]\w*)\.[\w{]")


def _installed() -> list[str]:
    """The installed packages and versions: the names of their metadata folders."""
    folders = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    return sorted(name for folder in folders for name in _names(folder) if name.endswith(".dist-info"))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _write(file: Path, key: str, hashes: dict[str, str], project: Project, problems: list[Problem]) -> None:
    """Replace the file atomically, since others read it; without write permission there is no cache.

    What took too long may not the next time, on a machine that is less busy: then nothing is remembered.
    """
    if any(TooLongError.__name__ in problem.message for problem in problems):
        return
    files = {
        document.file: {
            "hash": hashes.get(document.file),
            "data": document.data,
            "places": document.pack(),
            "problems": [asdict(problem) for problem in document.problems],
        }
        for document in project.files
    }
    text = json.dumps({"key": key, "files": files, "problems": [asdict(problem) for problem in problems]})
    new = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(file)
