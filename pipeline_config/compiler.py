"""From our dialect to dag-factory's config dict, for one pipeline."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import Any

from pipeline_config.project import Environment, Project, merge

MINUTES = "_minutes"
# A connection of one of these types is for the job, not for the operator: it travels as environment variables.
JOB_CONNECTION_TYPES = ("aws", "postgres")


def compile_pipeline(project: Project, pipeline: dict[str, Any], environment: Environment) -> dict[str, Any]:
    """The config of one DAG as dag-factory takes it: `{dag_id: {…, "tasks": {task_id: {…}}}}`.

    The pipeline must have passed the check. Params stay JSON Schemas; the loader makes Airflow's Param of them.
    """
    defaults = project.defaults.data
    schedules = environment.data.get("schedules", True)
    default_args = merge(defaults["default_args"], environment.data.get("default_args", {}))
    return {
        pipeline["dag_id"]: {
            **defaults["dag"],
            "description": pipeline["description"],
            "schedule": pipeline["schedule"] if schedules else None,
            "tags": [*pipeline.get("tags", [])],
            "default_args": durations(default_args),
            "params": pipeline.get("params", {}),
            "tasks": {
                task["task_id"]: _Task(project, pipeline, task, environment).compiled() for task in pipeline["tasks"]
            },
        }
    }


class _Task:
    """One task: its operator's defaults, what the environment changes, and its own keys."""

    def __init__(
        self, project: Project, pipeline: dict[str, Any], task: dict[str, Any], environment: Environment
    ) -> None:
        self.project = project
        self.pipeline = pipeline
        self.task = task
        self.operator = operator_of(project, task["operator"], environment)

    def compiled(self) -> dict[str, Any]:
        """Keyword arguments of the operator, with its class path and the task's dependencies."""
        own = {key: self.task[key] for key in OWN_KEYS if key in self.task}
        return durations(
            {
                "operator": self.operator["class"],
                **self.operator.get("arguments", {}),
                **own,
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
        if "command" not in self.task:
            return {}
        template = self.project.defaults.data["commands"][self.task["command"]]
        job = self.task["job"]
        if "argv" in template:
            return {"command": argv(template["argv"], job, self.task.get("arguments", {}))}
        words = [_quoted(word) for word in option_words(self.task.get("arguments", {}))]
        return {"command": template["shell"].replace("{job}", job).replace("{arguments}", " ".join(words)).strip()}


OWN_KEYS = ("trigger_dag_id", "conf", "execution_timeout_minutes", "retries")


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
        key.removesuffix(MINUTES): dt.timedelta(minutes=value) if key.endswith(MINUTES) and value is not None else value
        for key, value in arguments.items()
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(word: str) -> str:
    """Quoted for the shell: at once, or by Jinja when the value is known only then."""
    if "{{" in word or "{%" in word:
        return "{% filter shell_quote %}" + word + "{% endfilter %}"
    return shlex.quote(word)
