"""Checks of how a task runs: its operator, connection, pool, time limit and mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline_config import classes
from pipeline_config.checks.context import Context
from pipeline_config.checks.dag import unknown_alerts
from pipeline_config.compiler import MARKER, MINUTES, OWN_ARGUMENTS, operator_of
from pipeline_config.connection_types import TAKES
from pipeline_config.model import Operator, Place, Task, Value
from pipeline_config.problem import Problem
from pipeline_config.project import Project
from pipeline_config.schema import WORDS, did_you_mean, kind

NOT_INSTALLED = ("airflow", "dagfactory")  # where files are checked and no DAG is built
TIME_LIMIT = "execution_timeout_minutes"


def operators(context: Context) -> Iterator[Problem]:
    """Each operator is one of defaults.yaml or an existing class, and its connection has the right type."""
    known = context.project.defaults.operators
    for task in context.pipeline.tasks:
        name, place = task.operator, task.at("operator")
        if task.is_of_class:
            message, hint = classes.what_is_wrong(name)
            if message:
                yield place.problem(message, hint)
            elif classes.is_no_operator(name):
                yield place.problem(f"{name} is not an Airflow operator")
            else:
                yield from _arguments(task)
        elif name not in known:
            standard = classes.in_standard(name)
            hint = f"write its import path, {standard}" if standard else did_you_mean(name, list(known))
            yield place.problem(f"no operator is called {name!r}", hint)
        else:
            yield from _connection(context, task)


def _arguments(task: Task) -> Iterator[Problem]:
    """The class accepts the arguments, as far as its source shows; none of them has its own key in a task."""
    each = {name: [value] for name, value in task.advanced.items()}
    given: tuple[tuple[str, Mapping[str, list[Value] | str]], ...] = (("advanced", each), ("for_each", task.for_each))
    for key, name, values in ((key, *item) for key, arguments in given for item in arguments.items()):
        if name in OWN_ARGUMENTS:
            hint = f"remove it here, and write {OWN_ARGUMENTS[name]}: in the task"
            yield task.at(key, name).problem(f"{name!r} has its own key in a task", hint, at_key=True)
        else:
            yield from _taken(task.at(key, name), task.operator, values)
    bare = {name.removesuffix(MINUTES) for _, arguments in given for name in arguments}
    if not bare <= set(classes.parameters(task.operator) or bare):
        return  # the missing one may be misspelled
    for missing in sorted(classes.required(task.operator) - bare - OWN_ARGUMENTS.keys()):
        message = f"{_name(task.operator)} needs the argument {missing!r}"
        yield task.at("operator").problem(message, f"write advanced: {{{missing}: …}}")


def _taken(place: Place, class_path: str, values: list[Value] | str) -> Iterator[Problem]:
    """The class accepts the argument at the end of `place`, and values of their type, as far as its source shows."""
    known, argument = classes.parameters(class_path), str(place.path[-1])
    if known is None:
        return
    bare = argument if argument in known else argument.removesuffix(MINUTES)
    types = CALLBACK if bare in known and bare.endswith("_callback") else known.get(bare)
    if types is None or (bare != argument and types and "duration" not in types):
        yield _no_argument(place, class_path, argument, at_key=True)
        return
    wanted, hint = types, ""
    if bare != argument:
        wanted = MINUTES_TYPES
    elif "duration" in types and argument != DURATION_AS_TEXT:
        wanted, hint = types - {"duration"} or frozenset({"null"}), f"write {argument}{MINUTES}"
    if not isinstance(values, str):
        yield from _limited(place, argument, values)
    wrong = [value for value in values if not isinstance(values, str) and not _fits(value, wanted)]
    if wrong and isinstance(wrong[0], str) and "code" in wanted and classes.is_import_path(wrong[0]):
        message, hint = classes.what_is_wrong_with_code(wrong[0])
        yield place.problem(f"{argument}: {message}", hint)
    elif wrong:
        words = " or ".join(sorted(WORDS.get(one, OTHER_WORDS.get(one, "")) for one in wanted))
        yield place.problem(f"{argument}: must be {words}, is {kind(wrong[0])}", hint)


def _limited(place: Place, argument: str, values: list[Value]) -> Iterator[Problem]:
    """Values of the right type that Airflow refuses when it builds the DAG."""
    for value in values:
        if argument == "weight_rule" and isinstance(value, str) and value not in WEIGHT_RULES:
            yield place.problem(f"weight_rule: {value!r} is not allowed here", did_you_mean(value, list(WEIGHT_RULES)))
        elif argument == "pool_slots" and isinstance(value, int | float) and value < 1:
            yield place.problem(f"pool_slots: must be 1 or more, is {value}")


WEIGHT_RULES = ("absolute", "downstream", "upstream")
DURATION_AS_TEXT = "execution_delta"  # the one that dag-factory reads
MINUTES_TYPES = frozenset({"number", "null"})
CALLBACK = frozenset({"code", "object"})  # as dag-factory reads it
OTHER_WORDS = {"duration": "a duration as text", "code": "the import path of a function"}


def _fits(value: Value, types: frozenset[str]) -> bool:
    """Whether a value has one of those types; a template may become anything."""
    if not types or (isinstance(value, str) and "{" in value and "code" not in types and types != MINUTES_TYPES):
        return True
    if isinstance(value, bool):
        return "boolean" in types
    if isinstance(value, int | float) and "number" in types:
        return True
    if isinstance(value, str) and types & OTHER_WORDS.keys():
        return "code" not in types or not any(classes.what_is_wrong_with_code(value))
    return kind(value) in {WORDS[one] for one in types if one in WORDS}


def _no_argument(place: Place, class_path: str, argument: str, *, at_key: bool = False) -> Problem:
    hint = did_you_mean(argument, sorted(classes.parameters(class_path) or ()))
    return place.problem(f"{_name(class_path)} has no argument {argument!r}", hint, at_key=at_key)


def _name(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _connection(context: Context, task: Task) -> Iterator[Problem]:
    catalog, wanted = context.project.catalog, context.connection_type(task)
    entry = catalog.connections.get(task.connection or "")
    if entry and entry.type != wanted:
        right = ", ".join(sorted(catalog.connections_of(wanted)))
        message = f"{task.connection} is a connection of type {entry.type}, the operator needs {wanted}"
        yield task.at("connection").problem(message, right and f"connections of that type: {right}")


def limits(context: Context) -> Iterator[Problem]:
    """Tasks on other machines have a time limit; each pool is in the catalog."""
    pools = context.project.catalog.pools
    for task in context.pipeline.tasks:
        is_remote = context.connection_type(task) in TAKES
        if (is_remote or any(name.endswith("_conn_id") for name in task.advanced)) and not time_limits(context, task):
            hint = f"add {TIME_LIMIT}: to the task, or to its operator in pipelines/defaults.yaml"
            yield task.at("operator").problem(f"task {task.task_id!r} has no timeout", hint)
        if task.pool and task.operator == MARKER:
            hint = "move it to the task that does the work"
            yield task.at("pool").warning(f"an {MARKER} does nothing, and uses no pool slot", hint)
        if task.pool and task.pool not in pools:
            hint = did_you_mean(task.pool, list(pools)) or "declare it under pools:"
            yield task.at("pool").problem(f"pool {task.pool!r} is not in pipelines/catalog.yaml", hint)


def time_limits(context: Context, task: Task) -> list[Value]:
    """The minutes after which a task is killed, from the task, its operator, the pipeline or defaults.yaml.

    The first one counts; it may be None, which is no limit.
    """
    operator = context.operator(task)
    brought = operator.arguments if operator else {}
    levels = (
        task.given(),
        brought,
        context.pipeline.default_args.given(),
        context.project.defaults.default_args.given(),
    )
    return [level[TIME_LIMIT] for level in levels if TIME_LIMIT in level]


def mapping(context: Context) -> Iterator[Problem]:
    """A mapped task names lists for its options, or an earlier task that returns one."""
    for task in context.pipeline.tasks:
        for name, values in task.for_each.items():
            place = task.at("for_each", name)
            if name in {**task.arguments, **task.advanced}:
                yield place.problem(f"{name!r} is also in arguments", "set it in one place", at_key=True)
            if isinstance(values, str) and not task.is_of_class:
                yield place.problem("must be a list here", "only a task of a class can map over another's result")
            elif isinstance(values, str) and values not in (earlier := before(context.pipeline.upstream, task.task_id)):
                hint = did_you_mean(values, sorted(earlier))
                yield place.problem(f"no task before this one is called {values!r}", hint)


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
    """The classes of operators and notifiers exist and accept their arguments; default_args name what is declared."""
    known = project.defaults.operators
    for entry in (*known.values(), *project.defaults.notifiers.values()):
        yield from _class(entry, entry.class_path)
    for environment in project.environments.values():
        for name, change in environment.operators.items():
            if name in known:
                whole = operator_of(project, name, project.environment(environment.name))
                if not change.class_path and any(classes.what_is_wrong(whole.class_path)):
                    continue  # it is reported where the class is
                # Another class is given what the environments say that this one extends, too.
                yield from _class(
                    replace(change, arguments=whole.arguments) if change.class_path else change, whole.class_path
                )
            else:
                hint = did_you_mean(name, list(known))
                yield change.place.problem(f"defaults.yaml has no operator {name!r}", hint, at_key=True)
    for alerts in (project.defaults.default_args, *(one.default_args for one in project.environments.values())):
        yield from unknown_alerts(project, alerts)


def required(project: Project) -> Iterator[Problem]:
    """Required arguments are given: for operators here or by each task, for notifiers here."""
    whole = {name: project.environment(name) for name in project.environments}
    operators = [
        *((operator, operator) for operator in project.defaults.operators.values()),
        *(
            (change, operator_of(project, name, whole[environment.name]))
            for environment in project.environments.values()
            for name, change in environment.operators.items()
            if change.class_path and name in project.defaults.operators
        ),
    ]
    for change, operator in operators:
        yield from _missing(change.place, operator, {operator.connection_argument, "command", *OWN_ARGUMENTS})
    for notifier in project.defaults.notifiers.values():
        yield from _missing(notifier.place, notifier, set())


def _missing(place: Place, entry: Operator, given: set[str | None]) -> Iterator[Problem]:
    known = classes.parameters(entry.class_path)
    bare = {name.removesuffix(MINUTES) for name in entry.arguments}
    if known is not None and bare <= known.keys():  # else the missing one may be misspelled
        for missing in sorted(classes.required(entry.class_path) - bare - given):
            message = f"{_name(entry.class_path)} needs the argument {missing!r}"
            yield place.problem(message, f"write arguments: {{{missing}: …}}", at_key=True)


def _class(entry: Operator, class_path: str) -> Iterator[Problem]:
    message, hint = classes.what_is_wrong(class_path)
    if message:
        # On a machine without Airflow, do not report that Airflow is missing.
        excused = message.startswith("there is no Python package") and class_path.split(".")[0] in NOT_INSTALLED
        yield entry.at("class").problem(message, hint, "warning" if excused else "error")
        return
    for name, value in entry.arguments.items():
        yield from _taken(entry.at("arguments", name), class_path, [value])
    if argument := entry.connection_argument:
        known = classes.parameters(class_path)
        if known is not None and argument not in known:
            yield _no_argument(entry.at("connection_argument"), class_path, argument)
