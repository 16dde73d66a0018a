"""From our dialect to dag-factory's config dict, for one pipeline."""

from __future__ import annotations

import datetime as dt
import itertools
import shlex
from collections.abc import Iterator
from typing import Any

from pipeline_config.project import Environment, Project, merge
from pipeline_config.schedules import clock, until

MINUTES = "_minutes"
MARKER = "EmptyOperator"  # `start` and `end`: what has nothing to do but to be first or last
# A connection of one of these types is for the job, not for the operator: it travels as environment variables.
JOB_CONNECTION_TYPES = ("aws", "postgres")
# What `advanced` may not hold, since a task has a key of its own for it: that key by Airflow's argument.
OWN_ARGUMENTS = {
    "task_id": "task_id",
    "trigger_dag_id": "trigger_dag_id",
    "conf": "conf",
    "execution_timeout": "execution_timeout_minutes",
    "execution_timeout_minutes": "execution_timeout_minutes",
    "retries": "retries",
    "pool": "pool",
    "outlets": "outlets",
    "trigger_rule": "trigger_rule",
    "depends_on_past": "depends_on_past",
    "priority_weight": "priority_weight",
}
_DAG_KEYS = (
    "timezone",
    "start_date",
    "end_date",
    "catchup",
    "max_active_runs",
    "dagrun_timeout_minutes",
    "is_paused_upon_creation",
)


def compile_pipeline(project: Project, pipeline: dict[str, Any], environment: Environment) -> dict[str, Any]:
    """The config of one DAG as dag-factory takes it: `{dag_id: {…, "tasks": {task_id: {…}}}}`.

    The pipeline must have passed the check. Params stay JSON Schemas; the loader makes Airflow's Param of them.
    """
    defaults = project.defaults.data
    config = {
        **durations({**defaults["dag"], **{key: pipeline[key] for key in _DAG_KEYS if key in pipeline}}),
        "description": pipeline["description"],
        "schedule": _schedule(pipeline["schedule"], environment),
        "tags": [*pipeline.get("tags", [])],
        "default_args": _default_args(project, pipeline, environment),
        "params": pipeline.get("params", {}),
        "tasks": {
            task["task_id"]: _Task(project, pipeline, task, environment).compiled() for task in pipeline["tasks"]
        },
    }
    config |= _deadline(project, pipeline)
    if "task_groups" in pipeline:
        config["task_groups"] = {name: _group(group) for name, group in pipeline["task_groups"].items()}
    return {pipeline["dag_id"]: config}


def _schedule(schedule: Any, environment: Environment) -> Any:
    """An environment may have no clock; assets are updated by runs that somebody starts."""
    if environment.data.get("schedules", True) or clock(schedule) is None:
        return schedule
    return {key: value for key, value in schedule.items() if key != "cron"} if isinstance(schedule, dict) else None


def _default_args(project: Project, pipeline: dict[str, Any], environment: Environment) -> dict[str, Any]:
    """What each task starts from: defaults.yaml, changed by the pipeline, changed by the environment."""
    defaults = project.defaults.data
    merged = {
        **defaults["default_args"],
        **pipeline.get("default_args", {}),
        **environment.data.get("default_args", {}),
    }
    rest = {key: value for key, value in merged.items() if key not in ALERTS}
    return {**durations(rest), **_callbacks(project, {"on_failure": [], **merged})}


# The keys that name notifiers, by what is called for them.
ALERTS = {
    "on_failure": "pipeline_config.operators.alerts.on_failure",
    "on_retry": "pipeline_config.operators.alerts.notify",
    "on_success": "pipeline_config.operators.alerts.notify",
}


def _callbacks(project: Project, given: dict[str, Any]) -> dict[str, Any]:
    """What Airflow calls for each key that names notifiers."""
    return {
        f"{key}_callback": {"callback": path, "notifiers": _notifiers(project, given[key])}
        for key, path in ALERTS.items()
        if key in given
    }


def _notifiers(project: Project, names: list[str]) -> list[dict[str, Any]]:
    return [project.defaults.data["notifiers"][name] for name in names]


def _deadline(project: Project, pipeline: dict[str, Any]) -> dict[str, Any]:
    """`deadline` with its notifiers; `by` as what passes from the schedule's time to it, `after`, too."""
    own = durations(pipeline.get("deadline", {}))
    ends: dict[str, Any] = {key: own[key] for key in ("by", "within") if key in own}
    cron = clock(pipeline["schedule"])
    if "by" in own and cron:
        ends["after"] = until(cron, own["by"])
    return {"deadline": {**ends, "notifiers": _notifiers(project, own["notify"])}} if ends else {}


def _group(group: dict[str, Any]) -> dict[str, Any]:
    around = {"parent_group_name": group["group"]} if "group" in group else {}
    return {"tooltip": group.get("description", ""), **around, "dependencies": [*group.get("dependencies", [])]}


def is_class_path(operator: str) -> bool:
    """Whether a task names an operator's class, not an operator of defaults.yaml."""
    return "." in operator


def groups_around(pipeline: dict[str, Any], one: dict[str, Any]) -> list[str]:
    """The groups that a task or a group lies in, the innermost first; known ones only, and each once."""
    groups: dict[str, Any] = pipeline.get("task_groups", {})
    found: list[str] = []
    while (name := one.get("group")) in groups and name not in found:
        found.append(name)
        one = groups[name]
    return found


def full_id(pipeline: dict[str, Any], task: dict[str, Any]) -> str:
    """A task's id as Airflow has it: with the groups around it."""
    return ".".join([*reversed(groups_around(pipeline, task)), task["task_id"]])


def upstream(pipeline: dict[str, Any]) -> dict[str, list[str]]:
    """The tasks that each task waits for: its own dependencies and its groups', groups unfolded; unknown ones too."""
    groups: dict[str, Any] = pipeline.get("task_groups", {})
    around = [groups_around(pipeline, task) for task in pipeline["tasks"]]
    members: dict[str, list[str]] = {name: [] for name in groups}
    for task, names in zip(pipeline["tasks"], around, strict=True):
        for name in names:
            members[name].append(task["task_id"])
    graph = {}
    for task, inside in zip(pipeline["tasks"], around, strict=True):
        names = [name for one in (task, *map(groups.__getitem__, inside)) for name in one.get("dependencies", [])]
        graph[task["task_id"]] = [member for name in names for member in (members[name] if name in groups else [name])]
    return graph


class _Task:
    """One task: its operator's defaults, what the environment changes, and its own keys."""

    def __init__(
        self, project: Project, pipeline: dict[str, Any], task: dict[str, Any], environment: Environment
    ) -> None:
        self.project = project
        self.pipeline = pipeline
        self.task = task
        if is_class_path(task["operator"]):
            self.operator = {"class": task["operator"], "arguments": task.get("advanced", {})}
        else:
            self.operator = operator_of(project, task["operator"], environment)

    def compiled(self) -> dict[str, Any]:
        """Keyword arguments of the operator, with its class path and the task's dependencies."""
        own = {key: self.task[key] for key in OWN_ARGUMENTS.values() if key in self.task and key != "task_id"}
        if "group" in self.task:
            own["task_group_name"] = self.task["group"]
        if self.task["operator"] == MARKER:
            own["on_success_callback"] = None  # Airflow would start a process for it
        return durations(
            {
                "operator": self.operator["class"],
                **self.operator.get("arguments", {}),
                **own,
                **_callbacks(self.project, self.task),
                **self._connections(),
                **self._command(),
                "dependencies": [*self.task.get("dependencies", [])],
            }
        )

    def _connections(self) -> dict[str, Any]:
        if "connection" not in self.task:
            return {}
        result: dict[str, Any] = {self.operator["connection_argument"]: self.task["connection"]}
        if self.operator["connection_type"] == "ssh":
            catalog = self.project.catalog.data["connections"]
            declared = self.pipeline.get("connections", [])
            result["job_connections"] = [name for name in declared if catalog[name]["type"] in JOB_CONNECTION_TYPES]
        return result

    def _command(self) -> dict[str, Any]:
        """What the task runs; with `for_each`, one command (or value of an argument) for each combination."""
        each = self.task.get("for_each", {})
        if "command" not in self.task:
            return {"expand": {name: self._values(values) for name, values in each.items()}} if each else {}
        commands = [self.command(arguments) for arguments in instances(self.task, each)]
        return {"expand": {"command": commands}} if each else {"command": commands[0]}

    def command(self, arguments: dict[str, Any]) -> str | list[str]:
        """The command of one instance of the task."""
        template = self.project.defaults.data["commands"][self.task["command"]]
        job = self.task["job"]
        if "argv" in template:
            return argv(template["argv"], job, arguments)
        words = [_quoted(word) for word in option_words(arguments)]
        shell: str = template["shell"].replace("{job}", job).replace("{arguments}", " ".join(words))
        return shell.strip()

    def _values(self, values: Any) -> Any:
        """A list as it is; the id of a task as dag-factory names its result."""
        if not isinstance(values, str):
            return values
        task = next((task for task in self.pipeline["tasks"] if task["task_id"] == values), {"task_id": values})
        return f"{full_id(self.pipeline, task)}.output"


def instances(task: dict[str, Any], each: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The arguments of each instance of a task: its own, with a value of every list of `each`, in all combinations."""
    for values in itertools.product(*each.values()):
        yield {**task.get("arguments", {}), **dict(zip(each, values, strict=True))}


def operator_of(project: Project, name: str, environment: Environment) -> dict[str, Any]:
    """An operator of defaults.yaml as the environment has it; another class takes none of the first one's arguments."""
    operator: dict[str, Any] = project.defaults.data["operators"][name]
    change = environment.operator_change(name)
    if "class" in change:
        operator = {**operator, "arguments": {}}
    return merge(operator, change)


def option_words(arguments: dict[str, Any]) -> list[str]:
    """`{"run-minutes": 5}` as `["--run-minutes=5"]`: one word an option, so that no value can look like another."""
    return [f"--{name}={_text(value)}" for name, value in arguments.items()]


def argv(template: list[str], job: str, arguments: dict[str, Any]) -> list[str]:
    """The words of a command that no shell reads."""
    words: list[str] = []
    for word in template:
        words.extend(option_words(arguments) if word == "{arguments}" else [word.replace("{job}", job)])
    return words


def durations(arguments: dict[str, Any]) -> dict[str, Any]:
    """`x_minutes: 3` as `x: timedelta(minutes=3)`."""
    return {
        key.removesuffix(MINUTES): _duration(key, value) if key.endswith(MINUTES) and value is not None else value
        for key, value in arguments.items()
    }


def _duration(key: str, minutes: float) -> dt.timedelta | str:
    # This one dag-factory reads itself, and as text only.
    return f"{minutes * 60:.0f} seconds" if key == "execution_delta_minutes" else dt.timedelta(minutes=minutes)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(word: str) -> str:
    """Quoted for the shell: at once, or by Jinja when the value is known only then."""
    if "{{" in word or "{%" in word:
        return "{% filter shell_quote %}" + word + "{% endfilter %}"
    return shlex.quote(word)
