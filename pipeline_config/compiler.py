"""From our dialect to dag-factory's config dict, for one pipeline."""

from __future__ import annotations

import datetime as dt
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline_config.connection_types import FOR_JOBS, is_remote_shell
from pipeline_config.model import JOB, Command, DagSettings, Environment, Group, Operator, Pipeline, Task, Value, Values
from pipeline_config.project import Project, merge
from pipeline_config.schedules import clock, until

MINUTES = "_minutes"
MARKER = "EmptyOperator"  # `start` and `end`: what has nothing to do but to be first or last
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


def compile_pipeline(project: Project, pipeline: Pipeline, environment: Environment) -> dict[str, Any]:
    """The config of one DAG as dag-factory takes it: `{dag_id: {…, "tasks": {task_id: {…}}}}`.

    The pipeline must have passed the check. Params stay JSON Schemas; the loader makes Airflow's Param of them.
    """
    config = {
        **durations({**project.defaults.dag.given(), **pipeline.given(DagSettings.keys())}),
        "description": pipeline.description,
        "schedule": _schedule(pipeline.schedule, environment),
        "tags": [*pipeline.tags],
        "default_args": _default_args(project, pipeline, environment),
        "params": pipeline.params,
        "tasks": {task.task_id: _Task(project, pipeline, task, environment).compiled() for task in pipeline.tasks},
        **_deadline(project, pipeline),
    }
    if pipeline.task_groups:
        config["task_groups"] = {name: _group(group) for name, group in pipeline.task_groups.items()}
    return {pipeline.dag_id: config}


def _schedule(schedule: Any, environment: Environment) -> Any:
    """An environment may disable cron schedules; assets are updated by runs that somebody starts."""
    if environment.schedules or clock(schedule) is None:
        return schedule
    return {key: value for key, value in schedule.items() if key != "cron"} if isinstance(schedule, dict) else None


def _default_args(project: Project, pipeline: Pipeline, environment: Environment) -> dict[str, Any]:
    """What each task starts from: defaults.yaml, changed by the pipeline, changed by the environment."""
    levels = (project.defaults, pipeline, environment)
    merged = {key: value for level in levels for key, value in level.default_args.given().items()}
    rest = {key: value for key, value in merged.items() if key not in ALERTS}
    return {**durations(rest), **_callbacks(project, {"on_failure": [], **merged})}


# The keys that name notifiers, by what is called for them.
ALERTS = {
    "on_failure": "pipeline_config.operators.alerts.on_failure",
    "on_retry": "pipeline_config.operators.alerts.notify",
    "on_success": "pipeline_config.operators.alerts.notify",
}


def _callbacks(project: Project, given: Mapping[str, Any]) -> dict[str, Any]:
    """Airflow's callback for each key that names notifiers."""
    return {
        f"{key}_callback": {"callback": path, "notifiers": _notifiers(project, given[key])}
        for key, path in ALERTS.items()
        if key in given
    }


def _notifiers(project: Project, names: Sequence[str]) -> list[dict[str, Any]]:
    """As the operators' module takes them."""
    notifiers = [project.defaults.notifiers[name] for name in names]
    return [{"class": notifier.class_path, "arguments": notifier.arguments} for notifier in notifiers]


def _deadline(project: Project, pipeline: Pipeline) -> dict[str, Any]:
    """`deadline` with its notifiers; `by` also as `after`, the time from the schedule's to it."""
    own = pipeline.deadline
    if own is None:
        return {}
    ends = durations(own.given(("by", "within_minutes")))
    cron = clock(pipeline.schedule)
    if own.by and cron:
        ends["after"] = until(cron, own.by)
    return {"deadline": {**ends, "notifiers": _notifiers(project, own.notify)}}


def _group(group: Group) -> dict[str, Any]:
    around = {"parent_group_name": group.group} if group.group else {}
    return {"tooltip": group.description, **around, "dependencies": [*group.dependencies]}


class _Task:
    """One task: its operator's defaults, what the environment changes, and its own keys."""

    def __init__(self, project: Project, pipeline: Pipeline, task: Task, environment: Environment) -> None:
        self.project = project
        self.pipeline = pipeline
        self.task = task
        if task.is_of_class:
            self.operator = Operator(place=task.place, class_path=task.operator, arguments=task.advanced)
        else:
            self.operator = operator_of(project, task.operator, environment)

    def compiled(self) -> dict[str, Any]:
        """Keyword arguments of the operator, with its class path and the task's dependencies."""
        own = self.task.given(key for key in OWN_ARGUMENTS.values() if key != "task_id")
        if self.task.group:
            own["task_group_name"] = self.task.group
        if self.task.operator == MARKER:
            own["on_success_callback"] = None  # Airflow would start a process for it
        return durations(
            {
                "operator": self.operator.class_path,
                **self.operator.arguments,
                **own,
                **_callbacks(self.project, self.task.given(ALERTS)),
                **self._connections(),
                **self._command(),
                "dependencies": [*self.task.dependencies],
            }
        )

    def _connections(self) -> dict[str, Any]:
        if self.task.connection is None or self.operator.connection_argument is None:
            return {}
        result: dict[str, Any] = {self.operator.connection_argument: self.task.connection}
        if is_remote_shell(self.operator.connection_type):
            catalog = self.project.catalog.connections
            declared = self.pipeline.connections
            result["job_connections"] = [name for name in declared if catalog[name].type in FOR_JOBS]
        return result

    def _command(self) -> dict[str, Any]:
        """What the task runs; with `for_each`, one command (or argument value) per combination."""
        each = self.task.for_each
        if self.task.command is None:
            return {"expand": {name: self._values(values) for name, values in each.items()}} if each else {}
        template = self.project.defaults.commands[self.task.command]
        lists = {name: values for name, values in each.items() if isinstance(values, list)}
        commands = [command_of(template, self.task.job, arguments) for arguments in instances(self.task, lists)]
        return {"expand": {"command": commands}} if each else {"command": commands[0]}

    def _values(self, values: list[Value] | str) -> list[Value] | str:
        """A list unchanged; the id of a task as dag-factory names its result."""
        if not isinstance(values, str):
            return values
        task = next((task for task in self.pipeline.tasks if task.task_id == values), None)
        return f"{self.pipeline.full_id(task) if task else values}.output"


def command_of(template: Command, job: str, arguments: Values) -> str | list[str]:
    """The command of a job with these arguments: words, or a text for the shell."""
    if template.shell is None:
        return argv(template.argv or (), job, arguments)
    words = [_quoted(word) for word in option_words(arguments)]
    return template.shell.replace(JOB, job).replace("{arguments}", " ".join(words)).strip()


def instances(task: Task, each: Mapping[str, list[Value]]) -> Iterator[dict[str, Value]]:
    """The arguments of each instance of a task: its own, with a value of every list of `each`, in all combinations."""
    for values in itertools.product(*each.values()):
        yield {**task.arguments, **dict(zip(each, values, strict=True))}


def operator_of(project: Project, name: str, environment: Environment) -> Operator:
    """An operator of defaults.yaml as the environment has it; a changed class does not inherit the arguments."""
    operator = project.defaults.operators[name]
    change = environment.operators.get(name)
    if change is None:
        return operator
    arguments = {} if change.class_path else operator.arguments
    class_path = change.class_path or operator.class_path
    return replace(operator, class_path=class_path, arguments=merge(arguments, change.arguments))


def option_words(arguments: Values) -> list[str]:
    """`{"run-minutes": 5}` as `["--run-minutes=5"]`: one word per option, so no value can look like another."""
    return [f"--{name}={_text(value)}" for name, value in arguments.items()]


def argv(template: Sequence[str], job: str, arguments: Values) -> list[str]:
    """The words of a command that runs without a shell."""
    words: list[str] = []
    for word in template:
        words.extend(option_words(arguments) if word == "{arguments}" else [word.replace(JOB, job)])
    return words


def durations(arguments: Mapping[str, Any]) -> dict[str, Any]:
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
