"""Checks of a DAG's own keys: its name, its schedule, its alerts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from pipeline_config import templates
from pipeline_config.checks.context import Context, texts
from pipeline_config.compiler import ALERTS
from pipeline_config.model import Alerts, DagSettings, Place
from pipeline_config.problem import Problem, plural
from pipeline_config.project import Project
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
    """The dag_id equals the file name, and no other file has it."""
    stem = context.pipeline.file.rsplit("/", 1)[-1].removesuffix(".yaml")
    dag_id, place = context.pipeline.dag_id, context.pipeline.at("dag_id")
    if dag_id != stem:
        yield place.problem(f"dag_id {dag_id!r} is not the file's name", f"rename one: {stem!r}")
    for other in context.index.files[dag_id]:
        if other is not place.document:
            yield place.problem(f"dag_id {dag_id!r} is also in {other.file}", "each DAG needs its own")


def schedule(context: Context) -> Iterator[Problem]:
    """A cron expression that can fire, a preset, or assets that some task updates."""
    value, place = context.pipeline.schedule, context.pipeline.at("schedule")
    for at, uri in assets(value):
        if uri not in context.index.outlets:
            hint = (
                did_you_mean(uri, sorted(context.index.outlets)) or "add it to the outlets of the task that updates it"
            )
            yield place.at(*at).warning(f"no task here updates asset {uri}", hint)
    if isinstance(value, dict):
        place = place.at("cron")
    text = clock(value)
    presets = [name for name in PRESETS if not (isinstance(value, dict) and name in NOT_BESIDE_ASSETS)]
    if text is not None and text.startswith("@"):
        if text not in presets:
            yield place.problem(f"no schedule is called {text!r}", did_you_mean(text, presets))
    elif text is not None:
        yield from _cron(place, text)


def _cron(place: Place, text: str) -> Iterator[Problem]:
    fields = text.split()
    if len(fields) != len(CRON_FIELDS):
        hint = f"{len(CRON_FIELDS)}: {', '.join(CRON_FIELDS)}"
        if "://" in text:
            hint = f"write an asset as a list: [{text}]"
        elif f"@{text}" in PRESETS:
            hint = f"did you mean '@{text}'?"
        elif "#" in text:
            hint = "put a space before the # of a comment"
        elif text.lower() == "none":
            hint = "write null for a DAG that runs only when it is triggered"
        yield place.problem(f"cron {text!r} has {plural(len(fields), 'field')}", hint)
        return
    if _A_TIME.fullmatch(text):
        return  # most schedules are one, and croniter takes a while to import
    from croniter import croniter

    wrong = list(_wrong_fields(place, text, croniter))
    yield from wrong
    if wrong:
        return
    try:
        croniter(text, datetime(2024, 1, 1, tzinfo=UTC)).get_next()
    except ValueError:  # croniter's own errors are ValueErrors
        yield place.problem(f"cron {text!r} never fires", f"order: {', '.join(CRON_FIELDS)}")
        return
    yield from _odd(place, text)


def _odd(place: Place, text: str) -> Iterator[Problem]:
    """Warnings: valid cron expressions that do something other than they seem."""
    minute, hour, day, _, weekday = fields = text.split()
    for (name, _), field in zip(CRON_FIELDS.items(), fields, strict=True):
        step = re.fullmatch(r"\*/(\d+)", field)
        if step and name in SIZES and SIZES[name] % int(step[1]):
            size = SIZES[name]
            does = "is the same as 0" if int(step[1]) >= size else f"does not divide {size}, so its steps are uneven"
            yield place.warning(f"cron {text!r}: {field} {does}", f"write a divisor of {size}")
    if "*" not in day and "*" not in weekday:
        message = f"cron {text!r} fires when either the day of the month or the day of the week matches"
        yield place.warning(message, "set one of the two to *")
    if minute == "*" and hour != "*":
        message = f"cron {text!r} fires 60 times per hour"
        yield place.warning(message, "write the minute, 0 for the full hour")


def _wrong_fields(place: Place, text: str, reader: type) -> Iterator[Problem]:
    """Each field that is wrong when all others are `*`."""
    offset, fields = 0, text.split()
    for number, (name, allowed) in enumerate(CRON_FIELDS.items()):
        offset = text.index(fields[number], offset)
        alone = ["*"] * len(CRON_FIELDS)
        alone[number] = fields[number]
        if _RANDOM.search(fields[number]):
            message = f"cron {text!r}: {fields[number]!r} gives a different {name} in each process"
            yield place.within(text, offset, message, f"must be {allowed}")
            continue
        try:
            reader(" ".join(alone))
        except ValueError:  # croniter's own errors are ValueErrors
            message = f"cron {text!r}: {fields[number]!r} is not a valid {name}"
            yield place.within(text, offset, message, f"must be {allowed}")
        offset += len(fields[number])


def timezone(context: Context) -> Iterator[Problem]:
    """The time zone exists."""
    yield from zone(context.pipeline)


def zone(settings: DagSettings) -> Iterator[Problem]:
    """The time zone of a pipeline, or of defaults.yaml, that does not exist."""
    name = settings.timezone
    if name is None:
        return
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a folder of names
        near = difflib.get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.8)
        hint = f"did you mean {near[0]!r}?" if near else "write its IANA name, such as Asia/Seoul"
        yield settings.at("timezone").problem(f"no time zone is called {name!r}", hint)


def without_cron(context: Context) -> Iterator[Problem]:
    """Warnings: keys that do nothing without a cron expression."""
    if clock(context.pipeline.schedule) is None:
        for key in ("timezone", "catchup"):
            if getattr(context.pipeline, key):
                message = f"{key} does nothing: the schedule has no cron expression"
                yield context.pipeline.at(key).warning(message, "remove it, or write one")


def dates(context: Context) -> Iterator[Problem]:
    """The schedule's last day is not before its first."""
    end = context.pipeline.end_date
    start = context.pipeline.start_date or context.project.defaults.dag.start_date
    if end and start and end < start:
        message = f"end_date {end} is before start_date {start}"
        yield context.pipeline.at("end_date").problem(message, "the DAG would never run")


def notifiers(context: Context) -> Iterator[Problem]:
    """Every notifier is in defaults.yaml."""
    for alerts in (context.pipeline.default_args, *context.pipeline.tasks):
        yield from unknown_alerts(context.project, alerts)
    if deadline := context.pipeline.deadline:
        yield from _unknown(context.project, deadline.at("notify"), deadline.notify)


def unknown_alerts(project: Project, alerts: Alerts) -> Iterator[Problem]:
    """Each notifier that a task or default_args name but defaults.yaml lacks."""
    for key in ALERTS:
        yield from _unknown(project, alerts.at(key), getattr(alerts, key) or ())


def _unknown(project: Project, place: Place, names: Sequence[str]) -> Iterator[Problem]:
    known = project.defaults.notifiers
    for number, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, list(known)) or "declare it under notifiers: in pipelines/defaults.yaml"
            yield place.at(number).problem(f"no notifier is called {name!r}", hint)


def deadline(context: Context) -> Iterator[Problem]:
    """`by` needs a schedule with one time of day, and its notifiers may only read what exists then."""
    own = context.pipeline.deadline
    if own is None:
        return
    cron = clock(context.pipeline.schedule)
    if own.by and (cron is None or time_of_day(cron) is None):
        there = "no cron expression" if cron is None else repr(cron)
        message = f"by needs a schedule with one time of day, but there is {there}"
        yield own.at("by").problem(message, "write within_minutes")
    known = context.project.defaults.notifiers
    for number, name in enumerate(own.notify):
        for _, text in texts(known[name].arguments, own.place) if name in known else ():
            for unknown in sorted(templates.names(text) - AT_A_DEADLINE):
                message = (
                    f"notifier {name} reads {unknown!r}, but a deadline only has {', '.join(sorted(AT_A_DEADLINE))}"
                )
                yield own.at("notify", number).problem(message, "declare another one for deadlines")
