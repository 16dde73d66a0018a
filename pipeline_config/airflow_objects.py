"""The parts of a compiled config that dag-factory needs as Airflow's own objects, or in another form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, AssetAll, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable, Param
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from pipeline_config.schedules import clock
from pipeline_config.templates import expression


def with_objects(config: dict[str, Any]) -> dict[str, Any]:
    """The config of one DAG as dag-factory builds it: schedule and params as objects, each conf as JSON."""
    params = {name: _param(schema) for name, schema in config["params"].items()}
    tasks = {
        name: {**task, "conf": conf(task["conf"])} if "conf" in task else task for name, task in config["tasks"].items()
    }
    return {**config, "schedule": _schedule(config), "params": params, "tasks": tasks}


def _schedule(config: dict[str, Any]) -> Any:
    """Assets with any, all or a cron expression, which dag-factory cannot build; other schedules unchanged."""
    schedule = config["schedule"]
    if not isinstance(schedule, dict):
        return schedule
    cron = clock(schedule)
    if cron is None:
        return _assets(schedule)
    timetable = CronTriggerTimetable(cron, timezone=config.get("timezone", "UTC"))
    return AssetOrTimeSchedule(timetable=timetable, assets=_assets(schedule))


def _assets(condition: str | dict[str, Any]) -> Asset | AssetAny | AssetAll:
    if isinstance(condition, str):
        return Asset(condition)
    return (
        AssetAny(*map(_assets, condition["any"])) if "any" in condition else AssetAll(*map(_assets, condition["all"]))
    )


def deadlines(config: dict[str, Any]) -> list[DeadlineAlert] | None:
    """Airflow's alerts for `deadline`.

    LocalExecutor runs them, whatever runs the tasks: the triggerer has no DAGs folder, and EdgeExecutor's table
    (provider 5.1.0) has no room for them, which on PostgreSQL ends the scheduler again and again.
    """
    own = config.get("deadline", {})
    ends = {}
    if "after" in own:
        ends[f"by {own['by']}"] = DeadlineReference.DAGRUN_LOGICAL_DATE, own["after"]
    if "within" in own:
        ends[f"within {own['within'].total_seconds() / 60:g} min"] = DeadlineReference.DAGRUN_QUEUED_AT, own["within"]
    callback = SyncCallback(MISSED, {"notifiers": own.get("notifiers", [])}, "LocalExecutor")
    return [DeadlineAlert(reference, time, callback, name) for name, (reference, time) in ends.items()] or None


MISSED = "pipeline_config.operators.alerts.deadline_missed"


def _param(schema: dict[str, Any]) -> Param:
    return Param(schema["default"], **{key: value for key, value in schema.items() if key != "default"})


def conf(value: Any) -> str:
    """JSON with templates, which TriggerDagRunOperator renders and parses.

    A text that is one expression becomes what it is: a number, true, null, a list; every other text stays text.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {conf(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(conf, value)) + "]"
    if not isinstance(value, str) or "{" not in value:
        return json.dumps(value)
    alone = expression(value)
    return f"{{{{ ({alone}) | as_json }}}}" if alone else "{% filter as_json %}" + value + "{% endfilter %}"


def as_json(value: Any) -> str:
    """The filter used in it; what JSON does not have, such as a date, becomes text."""
    return json.dumps(value, default=lambda other: list(other) if isinstance(other, Sequence) else str(other))
