"""The stand-in for a run when a template is rendered before there is one: Airflow's context, as far as it is known.

The run is one of 2024-01-02 15:00 UTC. What only a run knows, such as the result of a task, is RunValue.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import shlex
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

from pipeline_config.errors import RunValueError


class RunValue:
    """What only a run knows: its attributes and results are unknown too. Using its value raises RunValueError.

    `known` are the attributes that are known anyway. `shown` prints it by its name, `<ti.xcom_pull>`.
    """

    unsafe_callable = alters_data = False  # which Jinja's sandbox asks for
    jinja_pass_arg = None

    def __init__(self, name: str, known: Mapping[str, Any], *, shown: bool) -> None:
        self._name = name
        self._shown = shown
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> RunValue:
        if name.startswith("__"):
            raise AttributeError(name)
        return RunValue(f"{self._name}.{name}", {}, shown=self._shown)

    def __getitem__(self, name: object) -> RunValue:
        return RunValue(f"{self._name}.{name}", {}, shown=self._shown)

    def __call__(self, *_: object, **__: object) -> RunValue:
        return self

    def __str__(self) -> str:
        return f"<{self._name}>" if self._shown else self._refuse()

    def _refuse(self, *_: object) -> NoReturn:
        raise RunValueError(self._name)

    __bool__ = __iter__ = __len__ = __int__ = __float__ = __index__ = __contains__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __abs__ = __round__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _refuse


def shell_quote(value: Any) -> str:
    """A text as one word for the shell."""
    return shlex.quote(str(value) if isinstance(value, RunValue) else value)


def spark_lineage(_: object) -> str:
    """What tells Spark which task has started it: nothing, as in an Airflow that sends no lineage."""
    return ""


class _Names(dict[str, Any]):
    """Values by name, read as attributes or keys; missing ones are unknown."""

    def __init__(self, values: Mapping[str, Any], unknown: RunValue) -> None:
        super().__init__(values)
        self._unknown = unknown

    def __missing__(self, name: str) -> Any:
        return self._unknown[name]

    def __getattr__(self, name: str) -> Any:
        return self[name]


class DateTime(dt.datetime):
    """A moment like Airflow's; pendulum, which is slow to import, is used only where needed."""

    __module__ = "pendulum"  # for messages

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("pendulum").instance(self), name)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, dt.datetime):
            return import_module("pendulum").instance(self) - other
        return super().__sub__(other)


NOW = DateTime(2024, 1, 2, 15, tzinfo=dt.UTC)


def _with_moment(form: Callable[[dt.datetime], str]) -> Callable[[Any], Any]:
    return lambda moment: None if moment is None else form(moment)


FILTERS: dict[str, Callable[[Any], Any]] = {
    "ds": _with_moment(lambda moment: moment.strftime("%Y-%m-%d")),
    "ds_nodash": _with_moment(lambda moment: moment.strftime("%Y%m%d")),
    "ts": _with_moment(lambda moment: moment.isoformat()),
    "ts_nodash": _with_moment(lambda moment: moment.strftime("%Y%m%dT%H%M%S")),
    "ts_nodash_with_tz": _with_moment(lambda moment: moment.isoformat().replace("-", "").replace(":", "")),
}


def _ds_format(ds: str, input_format: str, output_format: str) -> str:
    return dt.datetime.strptime(ds, input_format).strftime(output_format)  # noqa: DTZ007 (a day, as Airflow's macro has it)


def _ds_add(ds: str, days: int) -> str:
    return (dt.date.fromisoformat(ds) + dt.timedelta(days=days)).isoformat()


# What Airflow has as macros.time, but for waiting.
_TIME = {name: value for name, value in vars(time).items() if not name.startswith("_") and name != "sleep"}


def _macros(unknown: RunValue) -> RunValue:
    known = {
        "datetime": dt.datetime,
        "timedelta": dt.timedelta,
        "time": RunValue("macros.time", _TIME, shown=False),
        "json": json,
        "uuid": uuid,
        "random": random.random,
        "ds_add": _ds_add,
        "ds_format": _ds_format,
    }
    unknown.__dict__.update(known)
    return unknown


_NOW_AS = {name: form(NOW) for name, form in FILTERS.items()}


def context(variables: Mapping[str, str], params: Mapping[str, Any], *, shown: bool = False) -> dict[str, Any]:
    """Airflow's template context with these variables and params; `shown` prints what is unknown by its name."""

    def unknown(name: str, **known: Any) -> RunValue:
        return RunValue(name, known, shown=shown)

    times = {"logical_date": NOW, "data_interval_start": NOW, "data_interval_end": NOW}
    run_id = f"manual__{NOW.isoformat()}"
    instance = unknown("ti", run_id=run_id, try_number=1)
    return {
        **_unknown_names(shown=shown),
        **times,
        **_NOW_AS,
        "var": {
            "value": _Names(variables, unknown("var.value")),
            "json": _Names(readable(variables), unknown("var.json")),
        },
        "params": _Names(params, unknown("params")),
        "dag_run": unknown("dag_run", **times, run_after=NOW, run_id=run_id, run_type="manual"),
        "ti": instance,
        "task_instance": instance,
        "macros": _macros(unknown("macros")),
        "run_id": run_id,
        "try_number": 1,
    }


# Names of the context that only a run knows, and those of a task, whose attributes are its operator's.
UNKNOWN = """
    asset_state_store conn dag expanded_ti_count inlet_events inlets map_index_template outlet_events outlets
    partition_date partition_key prev_data_interval_end_success prev_data_interval_start_success prev_end_date_success
    prev_start_date_success task task_instance_key_str task_reschedule_count task_state_store test_mode
    triggering_asset_events
    """.split()


# What only notifiers may read: the failure, and the missed deadline.
IN_CALLBACKS = frozenset({"exception", "reason", "deadline"})


@cache
def _unknown_names(*, shown: bool) -> dict[str, Any]:
    return {name: RunValue(name, {}, shown=shown) for name in (*UNKNOWN, *IN_CALLBACKS)}


def readable(variables: Mapping[str, str]) -> Mapping[str, Any]:
    """The variables that are JSON, to be read only."""
    return _readable(tuple(variables.items()))


@cache
def _readable(variables: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    found = {}
    for name, text in variables:
        try:
            found[name] = json.loads(text)
        except ValueError:  # the check says so
            continue
    return found
