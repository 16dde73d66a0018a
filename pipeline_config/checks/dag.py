"""Checks of a DAG's own keys: its name, its schedule, its alerts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pipeline_config import templates
from pipeline_config.checks.context import Context, texts
from pipeline_config.compiler import ALERTS
from pipeline_config.problem import Problem
from pipeline_config.project import Project
from pipeline_config.reader import Document, KeyPath
from pipeline_config.schedules import assets, clock, time_of_day
from pipeline_config.schema import did_you_mean

# The fields of a cron expression, in order, with what each may hold.
CRON_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31",
    "month": "1-12 or JAN-DEC",
    "day of week": "0-7 or SUN-SAT",
}
SIZES = {"minute": 60, "hour": 24}
_A_TIME = re.compile(r"[1-5]?\d (?:1?\d|2[0-3]) \* \* (?:\*|[0-7])")  # of each day, or of one day of the week
_RANDOM = re.compile(r"(?i)(?<![a-z])[rh](?![a-z])")  # croniter's: another time in each process, or by a hash
PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
NOT_BESIDE_ASSETS = ("@once", "@continuous")  # no times of a clock
AT_A_DEADLINE = frozenset({"deadline", "dag_run", "run_id"})  # what the templates of notifiers may read then


def file_name(context: Context) -> Iterator[Problem]:
    """dag_id = file name, and no other file has it."""
    stem = context.document.file.rsplit("/", 1)[-1].removesuffix(".yaml")
    dag_id = context.data["dag_id"]
    if dag_id != stem:
        yield context.problem(("dag_id",), f"dag_id {dag_id!r} is not the file's name", f"rename one: {stem!r}")
    for other in context.index.by_dag_id[dag_id]:
        if other is not context.document:
            yield context.problem(("dag_id",), f"dag_id {dag_id!r} is also in {other.file}", "each DAG has its own")


def schedule(context: Context) -> Iterator[Problem]:
    """A cron expression that can come true, a preset, or assets that somebody updates."""
    value = context.data["schedule"]
    for at, uri in assets(value):
        if uri not in context.index.outlets:
            hint = did_you_mean(uri, sorted(context.index.outlets)) or "give it to that task's outlets"
            yield context.warning(("schedule", *at), f"no task here updates asset {uri}", hint)
    text, path = clock(value), ("schedule", "cron") if isinstance(value, dict) else ("schedule",)
    presets = [name for name in PRESETS if not (isinstance(value, dict) and name in NOT_BESIDE_ASSETS)]
    if text is not None and text.startswith("@"):
        if text not in presets:
            yield context.problem(path, f"no schedule is called {text!r}", did_you_mean(text, presets))
    elif text is not None:
        yield from _cron(context, path, text)


def _cron(context: Context, path: KeyPath, text: str) -> Iterator[Problem]:
    fields = text.split()
    if len(fields) != len(CRON_FIELDS):
        hint = f"{len(CRON_FIELDS)}: {', '.join(CRON_FIELDS)}"
        yield context.problem(path, f"cron {text!r} has {len(fields)} fields", hint)
        return
    if _A_TIME.fullmatch(text):
        return  # most schedules are one, and croniter takes a while to import
    from croniter import croniter

    wrong = list(_wrong_fields(context, path, text, croniter))
    yield from wrong
    if wrong:
        return
    try:
        croniter(text, datetime(2024, 1, 1, tzinfo=UTC)).get_next()
    except ValueError:  # croniter's own errors are ValueErrors
        yield context.problem(path, f"cron {text!r} never fires", f"order: {', '.join(CRON_FIELDS)}")
        return
    yield from _odd(context, path, text)


def _odd(context: Context, path: KeyPath, text: str) -> Iterator[Problem]:
    """Warnings: what cron takes, and does otherwise than it looks."""
    minute, hour, day, _, weekday = fields = text.split()
    for (name, _), field in zip(CRON_FIELDS.items(), fields, strict=True):
        step = re.fullmatch(r"\*/(\d+)", field)
        if step and name in SIZES and SIZES[name] % int(step[1]):
            size = SIZES[name]
            does = "is the same as 0" if int(step[1]) >= size else f"does not divide {size}, so its steps are uneven"
            yield context.warning(path, f"cron {text!r}: {field} {does}", f"write a divisor of {size}")
    if "*" not in day and "*" not in weekday:
        message = f"cron {text!r} fires when either the day of the month or the day of the week matches"
        yield context.warning(path, message, "set one of the two to *")
    if minute == "*" and hour != "*":
        message = f"cron {text!r} fires 60 times in the hour"
        yield context.warning(path, message, "write the minute, 0 for the full hour")


def _wrong_fields(context: Context, path: KeyPath, text: str, reader: type) -> Iterator[Problem]:
    """Each field that is wrong when all others are `*`."""
    offset, fields = 0, text.split()
    for number, (name, allowed) in enumerate(CRON_FIELDS.items()):
        offset = text.index(fields[number], offset)
        alone = ["*"] * len(CRON_FIELDS)
        alone[number] = fields[number]
        if _RANDOM.search(fields[number]):
            message = f"cron {text!r}: {fields[number]!r} is another {name} in each process"
            yield context.document.within(path, text, offset, message, f"it is {allowed}")
            continue
        try:
            reader(" ".join(alone))
        except ValueError:  # croniter's own errors are ValueErrors
            message = f"cron {text!r}: {fields[number]!r} is not a valid {name}"
            yield context.document.within(path, text, offset, message, f"it is {allowed}")
        offset += len(fields[number])


def timezone(context: Context) -> Iterator[Problem]:
    """The time zone is one that there is."""
    if "timezone" in context.data:
        yield from zone(context.document, ("timezone",), context.data["timezone"])


def zone(document: Document, path: KeyPath, name: str) -> Iterator[Problem]:
    """A time zone that does not exist, at its place in a pipeline or in defaults.yaml."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of names
        near = difflib.get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.8)
        hint = f"did you mean {near[0]!r}?" if near else "write its IANA name, such as Asia/Seoul"
        yield document.problem(path, f"no time zone is called {name!r}", hint, at_value=True)


def without_cron(context: Context) -> Iterator[Problem]:
    """Warnings: what does nothing unless there is a cron expression."""
    if clock(context.data["schedule"]) is None:
        for key in ("timezone", "catchup"):
            if context.data.get(key):
                message = f"{key} does nothing: the schedule has no cron expression"
                yield context.warning((key,), message, "remove it, or write one")


def dates(context: Context) -> Iterator[Problem]:
    """The schedule's last day is not before its first."""
    end = context.data.get("end_date")
    start = context.data.get("start_date", context.project.defaults.data["dag"]["start_date"])
    if end and end < start:
        yield context.problem(("end_date",), f"end_date {end} is before start_date {start}", "the DAG would never run")


def notifiers(context: Context) -> Iterator[Problem]:
    """Who is told is in defaults.yaml."""
    data: list[tuple[KeyPath, dict[str, Any]]] = [
        (("default_args",), context.data.get("default_args", {})),
        (("deadline",), context.data.get("deadline", {})),
        *((("tasks", index), task) for index, task in enumerate(context.tasks)),
    ]
    for path, named in data:
        yield from unknown_notifiers(context.project, context.document, path, named)


def unknown_notifiers(project: Project, document: Document, path: KeyPath, named: dict[str, Any]) -> Iterator[Problem]:
    """Each notifier that the keys of a mapping name and defaults.yaml does not have."""
    known = list(_notifiers(project))
    for key in (*ALERTS, "notify"):
        for number, name in enumerate(named.get(key, [])):
            if name not in known:
                hint = did_you_mean(name, known) or "declare it under notifiers: in pipelines/defaults.yaml"
                here = (*path, key, number)
                yield document.problem(here, f"no notifier is called {name!r}", hint, at_value=True)


def deadline(context: Context) -> Iterator[Problem]:
    """A time of the day follows a schedule that fires at one time of it, and its notifiers read what there is then."""
    own = context.data.get("deadline", {})
    cron = clock(context.data["schedule"])
    if "by" in own and (cron is None or time_of_day(cron) is None):
        there = "no cron expression" if cron is None else repr(cron)
        message = f"by needs a schedule with one time of the day, and there is {there}"
        yield context.problem(("deadline", "by"), message, "write within_minutes")
    for number, name in enumerate(own.get("notify", [])):
        for _, text in texts(_notifiers(context.project).get(name, {}), ()):
            for unknown in sorted(templates.names(text) - AT_A_DEADLINE):
                message = f"notifier {name} reads {unknown!r}, and a deadline has {', '.join(sorted(AT_A_DEADLINE))}"
                yield context.problem(("deadline", "notify", number), message, "declare another one for deadlines")


def _notifiers(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = project.defaults.data.get("notifiers", {})
    return found
