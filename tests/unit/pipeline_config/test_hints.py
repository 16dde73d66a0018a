"""Who does what a hint says has a better file: each hint that names its remedy is applied mechanically."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_config.checks import check
from pipeline_config.problem import Problem
from pipeline_config.project import load_project
from pipeline_config.reader import Document, KeyPath, parse, read
from pipeline_config.schema import check_schema
from tests.unit.pipeline_config.test_pipeline_cases import CASES, cases

PROJECT = load_project()
# What the cases trigger and stand beside.
BESIDE = ("tripclick_producer_batch", "tripclick_load_postgres", "tripclick_analytics_mart_etl")
OTHERS = [PROJECT.pipeline(dag_id).place.document for dag_id in BESIDE]
Fix = Callable[[Any, KeyPath, Problem, re.Match[str]], None]


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _instead(data: Any, path: KeyPath, problem: Problem, hint: re.Match[str]) -> None:
    """The word that the message names becomes the one of the hint, as key or in the value."""
    holder, key = _at(data, path[:-1]), path[-1]
    words = [*problem.message.replace("'", "").split(), *re.findall(r"\w[\w-]*", problem.message)]
    words = [word for word in words if word != hint[1]]  # it may be a part of what is wrong
    named = [str(key)] if re.match(f"(?:unknown )?key {str(key)!r}", problem.message) else []
    named += [word for word in words if word.lower() == hint[1].lower()]
    wrong = [*named, *difflib.get_close_matches(hint[1], words, n=1, cutoff=0.5)][0]
    if key == wrong:
        holder[hint[1]] = holder.pop(key)
    else:
        holder[key] = json.loads(json.dumps(holder[key]).replace(wrong, hint[1]))


def _remove(data: Any, path: KeyPath, _: Problem, __: re.Match[str]) -> None:
    del _at(data, path[:-1])[path[-1]]


def _declare(data: Any, _: KeyPath, problem: Problem, hint: re.Match[str]) -> None:
    name = re.search(r"(\w+) is used", problem.message)
    assert name
    data.setdefault(hint[1], []).append(name[1])


def _example(data: Any, path: KeyPath, problem: Problem, hint: re.Match[str]) -> None:
    missing = re.fullmatch(r"key '(\w+)' is missing", problem.message)
    place = (*path, missing[1]) if missing else path
    _at(data, place[:-1])[place[-1]] = json.loads(hint[1])


def _rename(data: Any, path: KeyPath, _: Problem, hint: re.Match[str]) -> None:
    _at(data, path[:-1])[path[-1]] = hint[1]


def _wait(data: Any, path: KeyPath, _: Problem, hint: re.Match[str]) -> None:
    _at(data, path)["dependencies"] = [hint[1]]


def _advanced(data: Any, path: KeyPath, _: Problem, __: re.Match[str]) -> None:
    task = _at(data, path[:-1])
    value = task.pop(path[-1])
    task.setdefault("advanced", {}).update(value if path[-1] == "arguments" else {path[-1]: value})


def _in_task(data: Any, path: KeyPath, _: Problem, hint: re.Match[str]) -> None:
    _at(data, path[:2])[hint[1]] = _at(data, path[:-1]).pop(path[-1])


def _write(data: Any, path: KeyPath, problem: Problem, hint: re.Match[str]) -> None:
    holder, key = _at(data, path[:-1]), path[-1]
    wrong = re.sub(" is not filled in here| has no default, .*|Jinja: .* have no ", "", problem.message).strip("'")
    holder[key] = holder[key].replace(wrong, hint[1])


REMEDIES: dict[str, Fix] = {
    r"did you mean '(.+)'\?": _instead,
    r"remove it": _remove,
    r"add it to (variables|connections):": _declare,
    r"for example (.+)": _example,
    r"rename one: '(.+)'": _rename,
    r"(?:write its import path,|in Airflow 3 write) (\S+)": _rename,
    r"add it: dependencies: \[(\w+)\]": _wait,
    r"write advanced: instead|put an argument of the class under advanced:": _advanced,
    r"remove it here, and write (\w+): in the task": _in_task,
    r'write "(.+)" in quotes': _rename,
    r"write (\{\{ (?:params|var\.value)\.\w+ \}\}|(?:params|macros)\.\w+)": _write,
}


def key_path(dotted: str) -> KeyPath:
    """`tasks[1].job` as `("tasks", 1, "job")`."""
    parts = re.findall(r"\[(\d+)\]|([^.\[]+)", dotted)
    return tuple(int(number) if number else name for number, name in parts)


def checked(document: Document) -> list[Problem]:
    """The problems of that document, one more beside OTHERS."""
    document.problems.extend(check_schema(document, "pipeline"))
    found = check(replace(PROJECT, pipeline_files=[document, *OTHERS]))
    return [problem for problem in found if problem.file == document.file]


def remedy(problem: Problem) -> tuple[Fix, re.Match[str]] | None:
    """What the hint of a problem says to do, when a machine can do it."""
    matches = ((one, re.fullmatch(pattern, problem.hint)) for pattern, one in REMEDIES.items())
    return next(((one, match) for one, match in matches if match), None)


MOST_STEPS = 20


@pytest.mark.parametrize("case", [path for path in cases("invalid") if path.is_file()], ids=lambda case: case.stem)
def test_following_the_hints_leaves_fewer_problems(case: Path) -> None:
    """Following a hint removes its problem, and no other name that is as wrong takes its place."""
    document = read(case, CASES / "invalid")
    found, followed = checked(document), dict[str, str]()
    while (todo := _first(found)) and document.data is not None:
        problem, (fix, hint) = todo
        followed[str(problem)] = _kind(problem) if fix is _instead else ""
        assert len(followed) < MOST_STEPS, followed
        data = copy.deepcopy(document.data)
        fix(data, key_path(problem.path), problem, hint)
        document = parse(Document(document.file), json.dumps(data).encode())
        found = checked(document)
        assert problem.message not in {one.message for one in found if one.path == problem.path}
    left = {_kind(one) for one in found if one.severity == "error"}
    assert not left.intersection(followed.values()), (left, followed)


def _kind(problem: Problem) -> str:
    unnamed = re.sub("'[^']*'", "…", problem.message)
    return f"{problem.path}: {unnamed}"


def _first(found: list[Problem]) -> tuple[Problem, tuple[Fix, re.Match[str]]] | None:
    return next(((problem, how) for problem in found if (how := remedy(problem))), None)
