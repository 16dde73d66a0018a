"""Checks of what a task runs as: its operator, connection, pool, time limit and mapping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline_config import classes
from pipeline_config.checks.context import Context
from pipeline_config.checks.dag import unknown_notifiers
from pipeline_config.compiler import MARKER, MINUTES, OWN_ARGUMENTS, is_class_path, operator_of, upstream
from pipeline_config.problem import Problem
from pipeline_config.project import Environment, Project
from pipeline_config.reader import Document, KeyPath
from pipeline_config.schema import WORDS, did_you_mean, kind

NOT_INSTALLED = ("airflow", "dagfactory")  # where files are checked and no DAG is built
REMOTE_TYPES = ("ssh", "docker")  # what hangs there hangs here


def operators(context: Context) -> Iterator[Problem]:
    """Each operator is one of defaults.yaml or a class that is there, and its connection is of its type."""
    for index, task in enumerate(context.tasks):
        path: KeyPath = ("tasks", index)
        name = task["operator"]
        if is_class_path(name):
            message, hint = classes.what_is_wrong(name)
            if message:
                yield context.problem((*path, "operator"), message, hint)
            elif classes.is_no_operator(name):
                yield context.problem((*path, "operator"), f"{name} is not an Airflow operator")
            else:
                yield from _arguments(context, path, task)
        elif name not in context.operators:
            standard = classes.in_standard(name)
            hint = f"write its import path, {standard}" if standard else did_you_mean(name, list(context.operators))
            yield context.problem((*path, "operator"), f"no operator is called {name!r}", hint)
        else:
            yield from _connection(context, path, task)


def _arguments(context: Context, path: KeyPath, task: dict[str, Any]) -> Iterator[Problem]:
    """The class takes the arguments, as far as its source says which; none of them has a key of its own in a task."""
    for key in ("advanced", "for_each"):
        for name in task.get(key, {}):
            here = (*path, key, name)
            if name in OWN_ARGUMENTS:
                hint = f"remove it there, and write {OWN_ARGUMENTS[name]}: in the task"
                yield context.document.problem(here, f"{name!r} has a key of its own in a task", hint)
            else:
                values = [task[key][name]] if key == "advanced" else task[key][name]
                yield from _taken(context.document, here, task["operator"], values)
    given = {name.removesuffix(MINUTES) for key in ("advanced", "for_each") for name in task.get(key, {})}
    if not given <= set(classes.parameters(task["operator"]) or given):
        return  # the one that is missing may be misspelt
    for missing in sorted(classes.required(task["operator"]) - given - OWN_ARGUMENTS.keys()):
        message = f"{_name(task['operator'])} needs the argument {missing!r}"
        yield context.problem((*path, "operator"), message, f"write advanced: {{{missing}: …}}")


def _taken(document: Document, path: KeyPath, class_path: str, values: list[Any] | str) -> Iterator[Problem]:
    """The class takes the argument in which `path` ends, and values of their type, as far as its source says which."""
    known, argument = classes.parameters(class_path), str(path[-1])
    if known is None:
        return
    bare = argument if argument in known else argument.removesuffix(MINUTES)
    types = CALLBACK if bare in known and bare.endswith("_callback") else known.get(bare)
    if types is None or (bare != argument and types and "duration" not in types):
        yield _no_argument(document, path, class_path, argument)
        return
    wanted, hint = types, ""
    if bare != argument:
        wanted = MINUTES_TYPES
    elif "duration" in types and argument != DURATION_AS_TEXT:
        wanted, hint = types - {"duration"} or frozenset({"null"}), f"write {argument}{MINUTES}"
    if argument == "weight_rule":
        yield from _weight_rule(document, path, values)
    wrong = [value for value in values if not isinstance(values, str) and not _fits(value, wanted)]
    if wrong and isinstance(wrong[0], str) and "code" in wanted and classes.is_import_path(wrong[0]):
        message = f"{argument}: there is no Python module {wrong[0].rpartition('.')[0]!r}"
        yield document.problem(path, message, WHERE_CODE_LIES, at_value=True)
    elif wrong:
        words = " or ".join(sorted(WORDS.get(one, OTHER_WORDS.get(one, "")) for one in wanted))
        yield document.problem(path, f"{argument}: must be {words}, is {kind(wrong[0])}", hint, at_value=True)


def _weight_rule(document: Document, path: KeyPath, values: list[Any] | str) -> Iterator[Problem]:
    for value in values:
        if isinstance(value, str) and value not in WEIGHT_RULES:
            hint = did_you_mean(value, list(WEIGHT_RULES))
            yield document.problem(path, f"weight_rule: {value!r} is not allowed here", hint, at_value=True)


WEIGHT_RULES = ("absolute", "downstream", "upstream")
DURATION_AS_TEXT = "execution_delta"  # the one that dag-factory reads
WHERE_CODE_LIES = "put it where Python finds its modules, such as Airflow's plugins folder"
MINUTES_TYPES = frozenset({"number", "null"})
CALLBACK = frozenset({"code", "object"})  # as dag-factory reads it
OTHER_WORDS = {"duration": "a duration as text", "code": "the import path of a function"}


def _fits(value: Any, types: frozenset[str]) -> bool:
    """Whether a value is of one of those types; a template may become anything."""
    if not types or (isinstance(value, str) and "{" in value and "code" not in types and types != MINUTES_TYPES):
        return True
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int | float) and "number" in types:
        return True
    if isinstance(value, str) and types & OTHER_WORDS.keys():
        return "code" not in types or classes.may_be_code(value)
    return kind(value) in {WORDS[one] for one in types if one in WORDS}


def _no_argument(
    document: Document, path: KeyPath, class_path: str, argument: str, *, at_value: bool = False
) -> Problem:
    hint = did_you_mean(argument, sorted(classes.parameters(class_path) or ()))
    return document.problem(path, f"{_name(class_path)} has no argument {argument!r}", hint, at_value=at_value)


def _name(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _connection(context: Context, path: KeyPath, task: dict[str, Any]) -> Iterator[Problem]:
    known = context.catalog("connections")
    wanted = context.operator(task).get("connection_type")
    name = task.get("connection")
    if name in known and known[name]["type"] != wanted:
        right = ", ".join(sorted(other for other, entry in known.items() if entry["type"] == wanted))
        message = f"{name} is a connection of type {known[name]['type']}, the operator needs {wanted}"
        yield context.problem((*path, "connection"), message, right and f"of that type: {right}")


def limits(context: Context) -> Iterator[Problem]:
    """What runs on another machine has a time limit; each pool is in the catalog."""
    everywhere = {**context.project.defaults.data["default_args"], **context.data.get("default_args", {})}
    for index, task in enumerate(context.tasks):
        path: KeyPath = ("tasks", index)
        key = "execution_timeout_minutes"
        operator = context.operator(task)
        limited = key in task or key in operator.get("arguments", {}) or key in everywhere
        if not limited and (operator.get("connection_type") in REMOTE_TYPES or _has_connection(task)):
            hint = f"add {key}: to the task, or to its operator in pipelines/defaults.yaml"
            yield context.problem((*path, "operator"), f"task {task['task_id']!r} has no timeout", hint)
        if "pool" in task and task["operator"] == MARKER:
            hint = "move it to the task that does the work"
            yield context.warning((*path, "pool"), f"an {MARKER} does nothing, and holds no slot of a pool", hint)
        if "pool" in task and task["pool"] not in context.catalog("pools"):
            hint = did_you_mean(task["pool"], list(context.catalog("pools"))) or "declare it under pools:"
            yield context.problem((*path, "pool"), f"pool {task['pool']!r} is not in pipelines/catalog.yaml", hint)


def _has_connection(task: dict[str, Any]) -> bool:
    return any(name.endswith("_conn_id") for name in task.get("advanced", {}))


def mapping(context: Context) -> Iterator[Problem]:
    """A mapped task names its options' lists, or an earlier task whose result is one."""
    graph = upstream(context.data)
    for index, task in enumerate(context.tasks):
        for name, values in task.get("for_each", {}).items():
            path: KeyPath = ("tasks", index, "for_each", name)
            both = task.get("arguments", {}).keys() | task.get("advanced", {}).keys()
            if name in both:
                yield context.document.problem(path, f"{name!r} is also in arguments", "give it in one place")
            if isinstance(values, str) and not is_class_path(task["operator"]):
                yield context.problem(
                    path, "must be a list here", "only a task of a class can map over another's result"
                )
            elif isinstance(values, str) and values not in before(graph, task["task_id"]):
                hint = did_you_mean(values, sorted(before(graph, task["task_id"])))
                yield context.problem(path, f"no task before this one is called {values!r}", hint)


def before(graph: dict[str, list[str]], task_id: str) -> set[str]:
    """Every task that has ended when `task_id` starts."""
    found: set[str] = set()
    waiting = list(graph[task_id])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, [])
    return found


def shared(project: Project) -> Iterator[Problem]:
    """The classes of operators and notifiers are there and take their arguments; default_args name what is declared."""
    known = project.defaults.data["operators"]
    for section in ("operators", "notifiers"):
        for name, entry in project.defaults.data.get(section, {}).items():
            yield from _class(project.defaults, (section, name), entry["class"], entry)
    for environment, document in project.environments.items():
        for name, change in document.data.get("operators", {}).items():
            if name in known:
                whole = operator_of(project, name, project.environment(environment))
                # Another class is given what the environments say that this one extends, too.
                entry = {**change, "arguments": whole.get("arguments", {})} if "class" in change else change
                yield from _class(document, ("operators", name), whole["class"], entry)
            else:
                hint = did_you_mean(name, list(known))
                yield document.problem(("operators", name), f"defaults.yaml has no operator {name!r}", hint)
    for document in (project.defaults, *project.environments.values()):
        yield from unknown_notifiers(project, document, ("default_args",), document.data.get("default_args", {}))


def required(project: Project) -> Iterator[Problem]:
    """What a class cannot do without is given: to operators here or by each task, to notifiers here."""
    places = [(project.defaults, Environment("", {}))]
    places += [(document, project.environment(name)) for name, document in project.environments.items()]
    for document, environment in places:
        for name, change in document.data.get("operators", {}).items():
            if "class" in change and name in project.defaults.data["operators"]:
                operator = operator_of(project, name, environment)
                given = {operator.get("connection_argument"), "command", *OWN_ARGUMENTS}
                yield from _missing(document, ("operators", name), operator, given)
    for name, notifier in project.defaults.data.get("notifiers", {}).items():
        yield from _missing(project.defaults, ("notifiers", name), notifier, set())


def _missing(document: Document, path: KeyPath, entry: dict[str, Any], given: set[Any]) -> Iterator[Problem]:
    known = classes.parameters(entry["class"])
    bare = {name.removesuffix(MINUTES) for name in entry.get("arguments", {})}
    if known is not None and bare <= known.keys():  # else the one that is missing may be misspelt
        for missing in sorted(classes.required(entry["class"]) - bare - given):
            message = f"{_name(entry['class'])} needs the argument {missing!r}"
            yield document.problem(path, message, f"write arguments: {{{missing}: …}}")


def _class(document: Document, path: KeyPath, class_path: str, entry: dict[str, Any]) -> Iterator[Problem]:
    message, hint = classes.what_is_wrong(class_path)
    if message:
        # Who checks on a machine without Airflow is not told that Airflow is missing.
        excused = message.startswith("there is no Python package") and class_path.split(".")[0] in NOT_INSTALLED
        severity = "warning" if excused else "error"
        yield document.problem((*path, "class"), message, hint, at_value=True, severity=severity)
        return
    for name, value in entry.get("arguments", {}).items():
        yield from _taken(document, (*path, "arguments", name), class_path, [value])
    if "connection_argument" in entry:
        argument = entry["connection_argument"]
        known = classes.parameters(class_path)
        if known is not None and argument not in known:
            yield _no_argument(document, (*path, "connection_argument"), class_path, argument, at_value=True)
