"""The differences of two compiled configs, in words."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline_config.compiler import compile_pipeline
from pipeline_config.model import Environment, Pipeline, Place
from pipeline_config.problem import plural
from pipeline_config.project import Project
from pipeline_config.reader import Document
from pipeline_config.render import MASK, SECRET

Difference = tuple[str, str]  # a sign (+ added, - removed, ~ changed) and what it is

_ABSENT: Any = object()
# Mappings whose keys are names that somebody chose, and lists without an order: what one of them is.
_MEMBERS = {
    "tasks": "task",
    "task_groups": "task group",
    "params": "param",
    "variables": "variable",
    "connections": "connection",
    "pools": "pool",
    "dependencies": "waits for",
    "tags": "tag",
    "outlets": "outlet",
    "job_connections": "its job gets connection",
}
# A word of a command: blanks inside Jinja or quotes do not end it.
_WORD = re.compile(r"""(?:\{\{.*?\}\}|\{%.*?%\}|'[^']*'|"[^"]*"|\S)+""", re.DOTALL)
_QUOTING = re.compile(r"\{% (?:filter shell_quote|endfilter) %\}")
_OPTION = re.compile(r"(--[^=\s]+)=(.*)", re.DOTALL)
_NAME = re.compile(r"--?[^=\s]+")


def view(project: Project, document: Document, environment: Environment | None) -> dict[str, Any] | str:
    """What is compared of a pipeline's file, or why it cannot be."""
    if environment is None:
        return "its environment extends what is not there, or itself"
    try:
        pipeline = Pipeline.of(Place(document), document.data)
        (config,) = compile_pipeline(project, pipeline, environment).values()
        tasks = {task_id: _task(task) for task_id, task in config["tasks"].items()}
        declared = {"variables": [*pipeline.variables], "connections": [*pipeline.connections]}
    except Exception as error:  # noqa: BLE001 (files of an older dialect may lack anything)
        return f"today's compiler cannot read it ({type(error).__name__}: {error})"
    return {**config, "tasks": tasks, **declared}


def _task(config: dict[str, Any]) -> dict[str, Any]:
    """A compiled task with `commands`, one for each instance, in place of `command` or `expand.command`."""
    each = dict(config.get("expand", {}))
    commands = [config["command"]] if "command" in config else each.pop("command", [])
    rest = {key: value for key, value in config.items() if key not in ("command", "expand")}
    return {**rest, "for_each": each, "commands": commands}


def compared(old: dict[str, Any] | str, new: dict[str, Any] | str) -> Iterable[Difference]:
    """The differences of two views."""
    if isinstance(old, dict) and isinstance(new, dict):
        return differences(old, new)
    return [("~", f"the old file cannot be compared: {old}")]  # the new one has passed the check


def differences(old: dict[str, Any], new: dict[str, Any], name: str = "") -> Iterator[Difference]:
    """A line for each value that differs, by its dotted path below `name`; `tasks[].commands` word by word."""
    for key in {**old, **new}:
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if key == "commands":
            yield from _commands(before or [], after or [])
        elif key in _MEMBERS and not name and _are(dict, before, after):
            yield from _members(_MEMBERS[key], _or(before, {}), _or(after, {}))
        elif key in _MEMBERS and not name and _are(list, before, after):
            yield from _set(_MEMBERS[key], _or(before, []), _or(after, []))
        else:
            yield from _values(f"{name}.{key}" if name else key, before, after)


def _are(kind: type, *values: Any) -> bool:
    return all(value is _ABSENT or isinstance(value, kind) for value in values)


def _or(value: Any, default: Any) -> Any:
    return default if value is _ABSENT else value


def _values(name: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from differences(before, after, name)
        return
    hide = bool(SECRET.search(name))
    if before is _ABSENT:
        yield "+", f"{name} {text(after, hide=hide)}"
    elif after is _ABSENT:
        yield "-", f"{name} {text(before, hide=hide)}"
    elif text(before) != text(after):
        yield "~", f"{name} {text(before, hide=hide)} → {text(after, hide=hide)}"


def _members(noun: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    """Each added or removed member as one line, each other one by its own keys."""
    for name in {**old, **new}:
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from ((sign, f"{noun} {name}: {what}") for sign, what in differences(before, after))
        elif isinstance(before, dict) or isinstance(after, dict):
            sign, member = ("+", after) if before is _ABSENT else ("-", before)
            default = f", default {text(member['default'])}" if "default" in member else ""
            yield sign, f"{noun} {name}{default}"
        else:
            yield from _values(f"{noun} {name}", before, after)


def _set(noun: str, old: list[Any], new: list[Any]) -> Iterator[Difference]:
    yield from (("-", f"{noun} {value}") for value in old if value not in new)
    yield from (("+", f"{noun} {value}") for value in new if value not in old)


def _commands(old: list[str | list[str]], new: list[str | list[str]]) -> Iterator[Difference]:
    """What a task runs: one command, or one for each instance of a mapped task."""
    if not old or not new:
        yield from (("-", f"command {text(command)}") for command in old)
        yield from (("+", f"command {text(command)}") for command in new)
        return
    if len(old) != len(new):
        yield "~", f"{len(old)} → {plural(len(new), 'instance')}"
    pairs = zip(old, new, strict=False)
    yield from dict.fromkeys(found for before, after in pairs for found in _command(before, after))


def _command(old: str | list[str], new: str | list[str]) -> Iterator[Difference]:
    """Options by name, other words in order; the whole command if that does not show the difference."""
    if old == new:
        return
    words_of_old, words_of_new = _words(old), _words(new)
    found = [*_options(words_of_old, words_of_new), *_other_words(words_of_old, words_of_new)]
    yield from found or [("~", f"command {text(old)} → {text(new)}")]


def _words(command: str | list[str]) -> list[str]:
    """The words without quotes; a word such as --conf together with its value."""
    if isinstance(command, str):
        words = _WORD.findall(_QUOTING.sub("", command))
        command = [word[1:-1] if word[0] == word[-1] == "'" else word for word in words]
    result: list[str] = []
    for word in command:
        if result and _NAME.fullmatch(result[-1]) and not word.startswith("-"):
            result[-1] += f" {word}"
        else:
            result.append(word)
    return result


def _options(*sides: list[str]) -> Iterator[Difference]:
    old, new = ({match[1]: match[2] for match in map(_OPTION.fullmatch, words) if match} for words in sides)
    for name in {**old, **new}:
        yield from _values(name, old.get(name, _ABSENT), new.get(name, _ABSENT))


def _other_words(*sides: list[str]) -> Iterator[Difference]:
    old, new = ([word for word in words if not _OPTION.fullmatch(word)] for words in sides)
    for kind, at, end, new_at, new_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        before, after = text(" ".join(old[at:end])), text(" ".join(new[new_at:new_end]))
        if kind == "replace":
            yield "~", f"command {before} → {after}"
        elif kind != "equal":
            yield ("-", f"command {before}") if kind == "delete" else ("+", f"command {after}")


def text(value: Any, *, hide: bool = False) -> str:
    """A value on one line, as JSON writes it; `none` for none, minutes for a duration."""
    if hide and value is not None:
        return MASK
    if value is None:
        return "none"
    return _minutes(value) if isinstance(value, dt.timedelta) else _json(value)


def _minutes(value: dt.timedelta) -> str:
    return f"{value.total_seconds() / 60:g} min"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_minutes)
