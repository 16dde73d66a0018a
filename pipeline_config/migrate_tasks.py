"""Tasks of dag-factory's own YAML as ours."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from pipeline_config import classes
from pipeline_config.compiler import OWN_ARGUMENTS
from pipeline_config.dag_factory_values import NoEquivalent, assets, minutes
from pipeline_config.schema import schema_of

EMPTY, TRIGGER = "EmptyOperator", "TriggerDagRunOperator"
PYTHON = "airflow.providers.standard.operators.python.PythonOperator"
# Modules of Airflow 2's import paths that are now in the standard provider.
STANDARD = {
    "operators": (
        "bash",
        "branch",
        "datetime",
        "empty",
        "latest_only",
        "python",
        "smooth",
        "trigger_dagrun",
        "weekday",
    ),
    "sensors": ("bash", "date_time", "external_task", "filesystem", "python", "time", "time_delta", "weekday"),
}
SAME = ("retries", "pool", "trigger_rule", "depends_on_past", "priority_weight")
TIME_LIMITS = ("execution_timeout", "execution_timeout_secs")
COMMANDS = ("bash_command", "command")
CALLBACK = re.compile(r"(sla_miss|on_\w+)_callback(_name|_file)?")
_ENVIRONMENT = re.compile(r"\$(?:([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)\})")
_SET = re.compile(r"\b([A-Z_][A-Z0-9_]*)=|\bfor ([A-Z_][A-Z0-9_]*) in\b")  # by the command itself
Note = Callable[[str, str, str], None]  # the key, what is not converted, and what to do


def migrated(task_id: str, config: dict[str, Any], note: Note) -> dict[str, Any]:
    """A task with the keys of ours, in their order."""
    task = _Task(task_id, config, note).task
    order = list(schema_of("pipeline")["properties"]["tasks"]["items"]["properties"])
    return dict(sorted(task.items(), key=lambda item: order.index(item[0])))


class _Task:
    """One task: `task` has our keys, `rest` those of dag-factory's that are not done."""

    def __init__(self, task_id: str, config: dict[str, Any], note: Note) -> None:
        self._note = note
        self.task: dict[str, Any] = {"task_id": task_id}
        self.rest = {key: value for key, value in config.items() if value is not None}
        self.task["operator"] = self._operator()
        self._own_keys()
        operator = self.task["operator"]
        if operator == TRIGGER:
            self._trigger()
        elif operator != EMPTY:
            self._class()
        for key in self.rest:
            self.note(key, f"{key} of a task of {operator.rpartition('.')[2]} has no equivalent here")

    def note(self, key: str, message: str, hint: str = "") -> None:
        """Say what of this task is not converted."""
        self._note(key, f"task {self.task['task_id']!r}: {message}", hint)

    def _operator(self) -> str:
        """The class by its current import path; ours if we have one."""
        if "decorator" in self.rest:
            return self._decorated()
        path = str(self.rest.pop("operator", EMPTY))
        match = re.fullmatch(r"airflow\.(operators|sensors)\.(\w+?)(?:_operator|_sensor)?\.(\w+)", path)
        if match:
            kind, module, name = match.groups()
            module, name = ("empty", EMPTY) if name == "DummyOperator" else (module, name)
            if module in STANDARD[kind]:
                path = f"airflow.providers.standard.{kind}.{module}.{name}"
        name = path.rpartition(".")[2]
        return name if name in (EMPTY, TRIGGER) and path.startswith("airflow.") else path

    def _decorated(self) -> str:
        """A function of TaskFlow as a task that calls it, unless it is given what another task returns."""
        self.rest.pop("decorator")
        own = {*OWN_ARGUMENTS, *TIME_LIMITS, *SAME, "dependencies", "task_group_name", "expand", "partial"}
        own |= {"python_callable", "python_callable_name", "python_callable_file", "map_index_template"}
        given = {key: value for key, value in self.rest.items() if key not in own and not CALLBACK.fullmatch(key)}
        given |= self.rest.pop("partial", {})
        each = self.rest.pop("expand", {})
        others = [_mapped(text) for text in (*given.values(), *each.values()) if str(text).startswith("+")]
        if others or len(each) > 1:
            message = "a function that is given other tasks' results is not converted; an EmptyOperator takes its place"
            self.note("decorator", message, "write a class, or a job, that reads them from XCom")
            self.rest = {key: value for key, value in self.rest.items() if key in ("dependencies", "task_group_name")}
            if before := dict.fromkeys([*self.rest.get("dependencies", []), *others]):
                self.rest["dependencies"] = [*before]
            return EMPTY
        for key in given.keys() & self.rest.keys():
            del self.rest[key]
        for name, values in each.items():
            self.rest["expand"] = {"op_kwargs": [{**given, name: value} for value in values]}
        if given and not each:
            self.rest["op_kwargs"] = given
        return PYTHON

    def _own_keys(self) -> None:
        for key in SAME:
            if key in self.rest:
                self.task[key] = self.rest.pop(key)
        for key in TIME_LIMITS:
            if (limit := minutes(self.rest.get(key))) is not None:
                del self.rest[key]
                self.task["execution_timeout_minutes"] = limit
        if group := self.rest.pop("task_group_name", None):
            self.task["group"] = group
        if dependencies := self.rest.pop("dependencies", None):
            self.task["dependencies"] = dependencies
        outlets = assets(self.rest.get("outlets"))
        if isinstance(outlets, list):
            self.task["outlets"] = outlets
        elif "outlets" in self.rest:
            self.note("outlets", "these outlets have no equivalent here", "write a list of URIs")
        self.rest.pop("outlets", None)
        for key in [key for key in self.rest if CALLBACK.fullmatch(key)]:
            del self.rest[key]
            hint = "declare a notifier in pipelines/defaults.yaml, and name it in on_failure, on_retry or on_success"
            self.note(key, f"the callback {key} is not converted", hint)

    def _trigger(self) -> None:
        for key in ("trigger_dag_id", "conf"):
            if key in self.rest:
                self.task[key] = self.rest.pop(key)

    def _class(self) -> None:
        """What else the class takes, under `advanced`; what it is mapped over, under `for_each`."""
        if each := {name: _mapped(values) for name, values in self.rest.pop("expand", {}).items()}:
            self.task["for_each"] = each
        given = {**self.rest.pop("partial", {}), **self._callable()}
        known = classes.parameters(self.task["operator"])
        given |= {key: self.rest.pop(key) for key in [*self.rest] if known is None or key in known}
        advanced = {}
        for key, value in given.items():
            if _is_code(value):
                self.note(key, f"the value of {key} is built by code", "dag-factory runs it, this project does not")
            elif isinstance(value, dt.timedelta):
                advanced[f"{key}_minutes"] = minutes(value)
            else:
                advanced[key] = value
            if found := _filled_in(key, str(value), given.get("env")):
                hint = "write the value itself, or a variable as {{ var.value.NAME }}"
                self.note(key, f"dag-factory fills in {found}, this project does not", hint)
        if advanced:
            self.task["advanced"] = advanced

    def _callable(self) -> dict[str, Any]:
        """A function by its file and name, as the import path that it may have."""
        name, file = self.rest.pop("python_callable_name", None), self.rest.pop("python_callable_file", None)
        if not name or not file:
            return {}
        path = f"{str(file).rpartition('/')[2].removesuffix('.py')}.{name}"
        hint = f"put {file} where Python finds its modules, such as Airflow's plugins folder"
        self.note("python_callable_file", f"a function is named by its import path, {path}", hint)
        return {"python_callable": path}


def _filled_in(key: str, text: str, env: Any) -> str:
    """The first variable that dag-factory takes from Airflow's environment; of a command's, not what it sets itself."""
    own: set[str] = set()
    if key in COMMANDS:
        own = {name for names in _SET.findall(text) for name in names} | {*(env if isinstance(env, dict) else ())}
    return next(
        (found[0] for found in _ENVIRONMENT.finditer(text) if not own.issuperset(filter(None, found.groups()))), ""
    )


def _mapped(values: Any) -> Any:
    """A list as it is; the id of the task whose result is mapped over."""
    if not isinstance(values, str):
        return values
    task = values.partition("[")[0].removeprefix("+").removesuffix(".output")
    return task.removeprefix("XcomArg(").removesuffix(")").rpartition(".")[2]


def _is_code(value: Any) -> bool:
    """Whether code would build it, or a part of it."""
    if isinstance(value, NoEquivalent):
        return True
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(item, dt.timedelta) or _is_code(item) for item in items)
