"""Checks of the files that all pipelines share: catalog, defaults and environments."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from pipeline_config import classes, templates
from pipeline_config.checks.context import FORMS, HOSTS, invisible, texts
from pipeline_config.checks.dag import zone
from pipeline_config.checks.declared import SHELL_ARGUMENTS
from pipeline_config.connection_types import CONNECTION_TYPES
from pipeline_config.errors import RenderError, RunValueError
from pipeline_config.model import JOB, Address, Entry, Environment, Place, Placed
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, active_environment, expand, unset
from pipeline_config.schema import did_you_mean
from pipeline_config.stand_ins import IN_CALLBACKS


def extends(project: Project) -> Iterator[Problem]:
    """What an environment extends exists, and does not extend it back. For all whose own file is valid."""
    parents = {name: file.data.get("extends") for name, file in project.environment_files.items() if not file.problems}
    for name in parents:
        trail, place = [name], Place(project.environment_files[name], ("extends",))
        while parent := parents.get(trail[-1]):
            if parent not in project.environment_files:
                if trail == [name]:
                    hint = did_you_mean(parent, list(project.environment_files))
                    yield place.problem(f"no environment is called {parent!r}", hint)
                break
            trail.append(parent)
            if parent in trail[:-1]:
                yield place.problem(f"environments extend each other: {' → '.join(trail)}", "remove one of them")
                break


def active(project: Project) -> Iterator[Problem]:
    """The environment that Airflow would use exists, if only as a broken one: without it there is no DAG."""
    name = active_environment()
    if name not in project.environment_files:
        file = f"pipelines/environments/{name}.yaml"
        there = ", ".join(sorted(project.environment_files))
        message = "the environment that Airflow uses does not exist"
        hint = f"set PIPELINE_ENVIRONMENT to one of: {there}" if there else "write this file"
        yield Problem(file, 1, 1, "", message, hint)


def examples(project: Project) -> Iterator[Problem]:
    """The example of each variable is valid for its type: the checks fill it in."""
    for name, entry in project.catalog.variables.items():
        form, hint = FORMS[entry.type]
        if not form.fullmatch(entry.example):
            message = f"{name}: the example {entry.example!r} is not valid for the type {entry.type}"
            yield entry.at("example").problem(message, hint)


def environments(project: Project) -> Iterator[Problem]:
    """In each environment, each variable has a valid value and each connection an address, and nothing else has."""
    for name, own in project.environments.items():
        whole = project.environment(name)
        for kind, word in (("variables", "variable"), ("connections", "connection")):
            catalog: Mapping[str, Entry] = getattr(project.catalog, kind)
            missing = catalog.keys() - getattr(whole, kind).keys()
            for unknown in sorted(getattr(own, kind).keys() - catalog.keys()):
                hint = did_you_mean(unknown, list(catalog))
                message = f"{word} {unknown} is not in pipelines/catalog.yaml"
                yield own.at(kind, unknown).problem(message, hint, at_key=True)
                missing = {name for name in missing if f"mean {name!r}" not in hint}
            for name in sorted(missing):
                hint = f"for example {catalog[name].example}"
                yield own.at(kind).problem(f"{word} {name} has no value here", hint, at_key=True)
        for connection, address in whole.connections.items():
            entry = project.catalog.connections.get(connection)
            if entry and entry.type in HOSTS and address.host is None:
                hint = HOSTS[entry.type][1]
                yield address.place.problem(f"connection {connection} has no host", hint, at_key=True)
        yield from _values(project, own)


def _values(project: Project, environment: Environment) -> Iterator[Problem]:
    yield from _placeholders(environment.place)
    yield from _invisible(environment)
    for name, value in environment.variables.items():
        entry = project.catalog.variables.get(name)
        form, hint = FORMS[entry.type] if entry else FORMS["text"]
        filled = expand(value)
        # Commands that need a value which is not set here say so.
        known = value.isprintable() and not unset(value) and "${" not in filled
        if entry and known and not form.fullmatch(filled):
            message = f"{name}: {value!r} is not valid for the type {entry.type}"
            yield environment.at("variables", name).problem(message, hint)
    for name, address in environment.connections.items():
        yield from _address(project.catalog.connections.get(name), address)


def _address(entry: Entry | None, address: Address) -> Iterator[Problem]:
    host = address.host
    if entry and entry.type in HOSTS and host is not None and host.isprintable() and not unset(host):
        form, hint = HOSTS[entry.type]
        if not form.fullmatch(expand(host)):
            yield address.at("host").problem(f"{host!r} is not a valid host of {entry.type}", hint)
    given = str(1 if address.port is None else address.port)
    port = expand(given)
    if not unset(given) and not (port.isdecimal() and 0 < int(port) < 65536):
        message = f"port {address.port!r} is not a number from 1 to 65535"
        yield address.at("port").problem(message)
    yield from _extra(entry, address)


def _extra(entry: Entry | None, address: Address) -> Iterator[Problem]:
    """Warnings: fields of an extra that nothing reads."""
    if entry is None or entry.type not in CONNECTION_TYPES:
        return
    known = CONNECTION_TYPES[entry.type].extras
    for name in address.extra or ():
        if known and name not in known:
            message = f"nothing reads {name!r} in the extra of a connection of type {entry.type}"
            yield address.at("extra", name).problem(message, did_you_mean(name, known), "warning", at_key=True)


def _invisible(environment: Environment) -> Iterator[Problem]:
    """No value or address contains an invisible character."""
    data, file = environment.place.document.data, environment.place
    for place, text in texts({key: data.get(key) for key in FILLED_IN}, file):
        for offset, odd in invisible(text):
            message = f"{place.path[1]} holds a {odd}, which is invisible"
            yield place.within(text, offset, message, "remove it, or write a space")


FILLED_IN = ("variables", "connections")  # of an environment


def _placeholders(file: Place) -> Iterator[Problem]:
    """Each `${…}` can be filled in; a warning where none is."""
    for place, text in texts(file.document.data, file):
        rest = PLACEHOLDER.sub(lambda found: " " * len(found[0]), text)
        if place.path[0] in FILLED_IN:
            if "${" in rest:
                hint = "write ${NAME} or ${NAME:-default}, the name in capitals, the default without braces"
                yield place.within(text, rest.index("${"), "this ${…} cannot be filled in", hint)
        elif rest != text and place.path[-1] not in (*SHELL_ARGUMENTS, "description"):
            message = f"{text!r} stays as it is: ${{…}} is filled in under variables and connections only"
            yield place.warning(message, "write the value itself")


def probes(project: Project) -> Iterator[Problem]:
    """The modules of preflight's probes and their types exist."""
    types = [*CONNECTION_TYPES, *FORMS]
    for kind, module in project.catalog.probes.items():
        place = project.catalog.at("probes", kind)
        if kind not in types:
            yield place.problem(f"there is no type {kind!r}", did_you_mean(kind, types), at_key=True)
        elif not classes.has_module(module):
            yield place.problem(f"there is no Python module {module!r}")


def timezone(project: Project) -> Iterator[Problem]:
    """The time zone of all DAGs exists."""
    yield from zone(project.defaults.dag)


def one_place(project: Project) -> Iterator[Problem]:
    """No two paths of an environment are the same folder: tables with the same name would be one table."""
    catalog = project.catalog.variables
    for environment in map(project.environment, project.environments):
        first: dict[str, str] = {}
        for variable, value in environment.variables.items():
            is_path = variable in catalog and catalog[variable].type == "path" and not unset(value)
            if is_path and (folder := expand(value).rstrip("/")):
                other = first.setdefault(folder, variable)
                if other != variable:
                    message = f"{variable} and {other} are the same folder {folder}"
                    yield environment.at("variables", variable).problem(message, "give each its own folder")


def unused(project: Project) -> Iterator[Problem]:
    """Warnings: entries of catalog.yaml and defaults.yaml that no pipeline uses. Only for a project without errors."""
    tasks = [task for pipeline in project.pipelines for task in pipeline.tasks]
    catalog = project.catalog
    entries: tuple[tuple[str, Mapping[str, Placed], set[str | None]], ...] = (
        ("variable", catalog.variables, {name for pipeline in project.pipelines for name in pipeline.variables}),
        ("connection", catalog.connections, {name for pipeline in project.pipelines for name in pipeline.connections}),
        ("pool", catalog.pools, {task.pool for task in tasks}),
        ("command", project.defaults.commands, {task.command for task in tasks}),
    )
    for word, members, used in entries:
        for name, member in members.items():
            if name not in used:
                # Not an error: one in a shared file would remove every DAG.
                message = f"no pipeline uses {word} {name}"
                yield member.place.problem(message, "remove it, or use it", "warning", at_key=True)


def templates_of_defaults(project: Project) -> Iterator[Problem]:
    """The Jinja of operators, command templates and notifiers is valid; Airflow, and the catalog, know its names."""
    for section in ("operators", "commands", "notifiers"):
        place = project.defaults.at(section)
        for at, text in texts(place.document.data.get(section), place):
            wrong = list(templates.what_is_wrong(text, IN_CALLBACKS if section == "notifiers" else frozenset()))
            for offset, message, hint in wrong:
                yield at.within(text, offset, message, hint)
            unknown = [] if wrong else list(_not_in_catalog(project, at, text))
            yield from unknown
            if not wrong and not unknown and (message := _unrendered(text, project.catalog.examples)):
                yield at.problem(message)


def _not_in_catalog(project: Project, place: Place, text: str) -> Iterator[Problem]:
    reads = templates.reads(text)
    for word, used, known in (
        ("variable", reads.variables, project.catalog.variables),
        ("connection", reads.connections, project.catalog.connections),
    ):
        for name, offset in used.items():
            if name not in known:
                message = f"{word} {name} is not in pipelines/catalog.yaml"
                yield place.within(text, offset, message, did_you_mean(name, list(known)))


def _unrendered(text: str, examples: dict[str, str]) -> str:
    if "{{" not in text and "{%" not in text:
        return ""
    try:
        templates.render(text, examples, {})
    except RunValueError:
        return ""
    except RenderError as error:
        return f"Jinja: cannot be rendered: {error}"
    return ""


def command_templates(project: Project) -> Iterator[Problem]:
    """A command template has only known placeholders, the options among them, and the shell can parse it."""
    for command in project.defaults.commands.values():
        place = command.at(command.kind)
        found = [match for word in (command.shell or "", *(command.argv or ())) for match in _PLACE.findall(word)]
        unknown_names = sorted(set(found) - set(PLACES))
        for unknown in unknown_names:
            yield place.problem(f"{{{unknown}}} is not filled in", did_you_mean(unknown, list(PLACES)))
        if "arguments" not in found and not unknown_names:
            message = "a template without {arguments} drops the options of its tasks"
            yield place.problem(message, "write {arguments} where the job's options belong")
        module = command.module.removesuffix(f".{JOB}")
        if not classes.has_module(module):
            hint = f"write {command.module.replace('/', '.')}" if "/" in module else ""
            yield command.at("module").problem(f"there is no Python module {module!r}", hint)
        elif module == command.module and classes.is_folder(module):
            message = f"{module} is a package without a __main__, so it is not a job"
            yield command.at("module").problem(message, f"write {module}.{JOB} for the jobs in it")
        yield from _shell(project, place, command.shell or "")


PLACES = ("job", "arguments")
_PLACE = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")


def _shell(project: Project, place: Place, text: str) -> Iterator[Problem]:
    """A shell can read the command, and stops where one fails. Which shell: the login's on the server, any."""
    command = _filled(project, text)
    wrong = _syntax_error("sh", command) if command else ""
    if wrong and shutil.which("bash") and not _syntax_error("bash", command):
        yield place.warning(f"sh cannot read it: {wrong}", "bash can: is it the login shell on the server?")
    elif wrong:
        yield place.problem(f"the shell cannot read it: {wrong}")
    elif _goes_on(text):
        message = "each line is a separate command, and the next one runs even if it fails"
        yield place.warning(message, "write >- for one line, && at the end of each, or set -e before them")


def _goes_on(shell: str) -> bool:
    """Whether a line ends a command that others follow regardless of its exit code."""
    *lines, _ = shell.strip().split("\n")
    return not _STOPS.search(shell) and any(line.strip() and not _CONTINUED.search(line) for line in lines)


_STOPS = re.compile(r"\bset -[a-z]*e")
_CONTINUED = re.compile(r"(?:\\|&&|\|\|?|[({]|\b(?:do|then|else))[ \t]*$")


_UNKNOWN = re.compile(r"<[a-z][\w.]*>")  # what only a run knows is shown as


def _filled(project: Project, shell: str) -> str:
    """A template as it looks with the catalog's examples; "" when nobody knows before a run."""
    filled = shell.replace(JOB, "job").replace("{arguments}", "--option=1")
    try:
        return _UNKNOWN.sub("unknown", templates.render(filled, project.catalog.examples, {}, shown=True))
    except RenderError:
        return ""  # a name that only a run, or nobody, knows


def _syntax_error(shell: str, command: str) -> str:
    """What a shell says of a command that it is to read, and not to run; "" when it can be read."""
    done = subprocess.run([shell, "-n"], input=command, capture_output=True, text=True, timeout=5, check=False)
    return done.stderr.strip().splitlines()[-1].rpartition("error: ")[2] if done.returncode else ""
