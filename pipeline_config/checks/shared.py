"""Checks of the files that all pipelines share: catalog, defaults and environments."""

from __future__ import annotations

import re
import subprocess
import unicodedata
from collections.abc import Iterator
from typing import Any

from pipeline_config import classes, templates
from pipeline_config.checks.context import FORMS, HOSTS, texts
from pipeline_config.checks.dag import zone
from pipeline_config.checks.declared import SHELL_ARGUMENTS
from pipeline_config.errors import RenderError, UnknownError
from pipeline_config.problem import Problem
from pipeline_config.project import PLACEHOLDER, Project, active_environment, expand, unset
from pipeline_config.reader import Document, KeyPath
from pipeline_config.schema import did_you_mean
from pipeline_config.stand_ins import IN_CALLBACKS


def extends(project: Project) -> Iterator[Problem]:
    """What an environment extends is there, and does not extend it back."""
    for name, document in project.environments.items():
        if document.problems:
            continue
        trail = [name]
        while parent := (project.environments[trail[-1]].data or {}).get("extends"):
            if parent not in project.environments:
                if trail == [name]:
                    hint = did_you_mean(parent, list(project.environments))
                    yield document.problem(("extends",), f"no environment is called {parent!r}", hint, at_value=True)
                break
            trail.append(parent)
            if parent in trail[:-1]:
                message = f"environments extend each other: {' → '.join(trail)}"
                yield document.problem(("extends",), message, "remove one of them", at_value=True)
                break
            if project.environments[parent].problems:
                break


def active(project: Project) -> Iterator[Problem]:
    """A warning when the environment that Airflow would take is not there. Of all environments, broken ones too."""
    name = active_environment()
    if name not in project.environments:
        file = f"pipelines/environments/{name}.yaml"
        there = ", ".join(sorted(project.environments)) or "none"
        message = "the environment that Airflow takes is not there"
        yield Problem(file, 1, 1, "", message, f"set PIPELINE_ENVIRONMENT; there is: {there}", "warning")


def examples(project: Project) -> Iterator[Problem]:
    """The example of each variable is one of its type: the checks fill it in."""
    for name, entry in project.catalog.data["variables"].items():
        form, hint = FORMS[entry["type"]]
        if not form.fullmatch(entry["example"]):
            message = f"{name}: the example {entry['example']!r} is not valid for the type {entry['type']}"
            yield project.catalog.problem(("variables", name, "example"), message, hint, at_value=True)


def environments(project: Project) -> Iterator[Problem]:
    """Each variable has a value of its type and each connection an address, in each environment, and no other has."""
    for name, document in project.environments.items():
        data = project.environment(name).data
        for kind, word in (("variables", "variable"), ("connections", "connection")):
            catalog = project.catalog.data[kind]
            for missing in sorted(catalog.keys() - data.get(kind, {}).keys()):
                hint = f"like {catalog[missing]['example']}"
                yield document.problem((kind,), f"{word} {missing} has no value here", hint)
            for unknown in sorted(document.data.get(kind, {}).keys() - catalog.keys()):
                hint = did_you_mean(unknown, list(catalog))
                yield document.problem((kind, unknown), f"{word} {unknown} is not in pipelines/catalog.yaml", hint)
        for connection, entry in project.catalog.data["connections"].items():
            address = data.get("connections", {}).get(connection, {"host": ""})
            if entry["type"] in HOSTS and "host" not in address:
                hint = HOSTS[entry["type"]][1]
                yield document.problem(("connections", connection), f"connection {connection} has no host", hint)
        yield from _values(project, document)


def _values(project: Project, document: Document) -> Iterator[Problem]:
    yield from _placeholders(document)
    yield from _invisible(document)
    for name, value in document.data.get("variables", {}).items():
        entry = project.catalog.data["variables"].get(name)
        form, hint = FORMS[entry["type"]] if entry else FORMS["text"]
        filled = expand(value)
        # Commands that need a value which is not set here say so.
        known = value.isprintable() and not unset(value) and "${" not in filled
        if entry and known and not form.fullmatch(filled):
            message = f"{name}: {value!r} is not valid for the type {entry['type']}"
            yield document.problem(("variables", name), message, hint, at_value=True)
    yield from _addresses(project, document)


def _addresses(project: Project, document: Document) -> Iterator[Problem]:
    for name, address in document.data.get("connections", {}).items():
        host, kind = address.get("host"), project.catalog.data["connections"].get(name, {}).get("type")
        known = host is not None and host.isprintable() and not unset(host)
        if known and kind in HOSTS and not HOSTS[kind][0].fullmatch(expand(host)):
            path: KeyPath = ("connections", name, "host")
            yield document.problem(path, f"{host!r} is not a valid host of {kind}", HOSTS[kind][1], at_value=True)
        given = str(address.get("port", 1))
        port = expand(given)
        if not unset(given) and not (port.isdecimal() and 0 < int(port) < 65536):
            message = f"port {address['port']!r} is not a number from 1 to 65535"
            yield document.problem(("connections", name, "port"), message, at_value=True)


def _invisible(document: Document) -> Iterator[Problem]:
    """No character that nobody sees is in a value or an address."""
    for path, text in texts({key: document.data.get(key, {}) for key in FILLED_IN}, ()):
        odd = next((letter for letter in text.replace("\n", "") if not letter.isprintable()), None)
        if odd:
            name = unicodedata.name(odd, "control character").lower()
            message = f"{path[1]} holds a {name} (U+{ord(odd):04X}), which nobody sees"
            yield document.within(path, text, text.index(odd), message, "remove it, or write a space")


FILLED_IN = ("variables", "connections")  # of an environment


def _placeholders(document: Document) -> Iterator[Problem]:
    """Each `${…}` is one that is filled in; a warning where none is."""
    for path, text in texts(document.data, ()):
        rest = PLACEHOLDER.sub(lambda found: " " * len(found[0]), text)
        if path[0] in FILLED_IN:
            if "${" in rest:
                hint = "write ${NAME} or ${NAME:-default}, the name in capitals, the default without braces"
                yield document.within(path, text, rest.index("${"), "this ${…} cannot be filled in", hint)
        elif rest != text and path[-1] not in (*SHELL_ARGUMENTS, "description"):
            message = f"{text!r} stays as it is: ${{…}} is filled in under variables and connections only"
            yield document.problem(path, message, "write the value itself", at_value=True, severity="warning")


def timezone(project: Project) -> Iterator[Problem]:
    """The time zone of all DAGs is one that there is."""
    dag = project.defaults.data["dag"]
    if "timezone" in dag:
        yield from zone(project.defaults, ("dag", "timezone"), dag["timezone"])


def one_place(project: Project) -> Iterator[Problem]:
    """No two paths of an environment are the same folder: tables of one name would be one table."""
    catalog = project.catalog.data["variables"]
    for name, document in project.environments.items():
        first: dict[str, str] = {}
        for variable, value in project.environment(name).data.get("variables", {}).items():
            is_path = catalog.get(variable, {}).get("type") == "path" and not unset(value)
            if is_path and (folder := expand(value).rstrip("/")):
                other = first.setdefault(folder, variable)
                if other != variable:
                    message = f"{variable} and {other} are the same folder {folder}"
                    path: KeyPath = ("variables", variable)
                    yield document.problem(path, message, "give each a folder of its own", at_value=True)


def unused(project: Project) -> Iterator[Problem]:
    """Warnings: what catalog.yaml and defaults.yaml have and no pipeline uses. Of a project without any error."""
    used = _uses(project)
    for document, kind in (
        (project.catalog, "variables"),
        (project.catalog, "connections"),
        (project.catalog, "pools"),
        (project.defaults, "commands"),
    ):
        for name in document.data.get(kind, {}):
            if name not in used[kind]:
                # No error: one in a file that all share would take every DAG away.
                message = f"no pipeline uses {kind.removesuffix('s')} {name}"
                yield document.problem((kind, name), message, "remove it, or use it", severity="warning")


def _uses(project: Project) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {"variables": set(), "connections": set(), "pools": set(), "commands": set()}
    for document in project.pipelines:
        data: dict[str, Any] = document.data
        used["variables"].update(data.get("variables", []))
        used["connections"].update(data.get("connections", []))
        for task in data["tasks"]:
            used["pools"].add(task.get("pool"))
            used["commands"].add(task.get("command"))
    return used


def templates_of_defaults(project: Project) -> Iterator[Problem]:
    """The Jinja of operators, command templates and notifiers can be read, and Airflow knows its names."""
    examples = _examples(project)
    for section in ("operators", "commands", "notifiers"):
        for path, text in texts(project.defaults.data.get(section, {}), (section,)):
            wrong = list(templates.what_is_wrong(text, IN_CALLBACKS if section == "notifiers" else frozenset()))
            for offset, message, hint in wrong:
                yield project.defaults.within(path, text, offset, message, hint)
            if not wrong and (message := _unrendered(text, examples)):
                yield project.defaults.problem(path, message, at_value=True)


def _unrendered(text: str, examples: dict[str, str]) -> str:
    try:
        templates.render(text, examples, {})
    except UnknownError:
        return ""
    except RenderError as error:
        return f"Jinja: cannot be rendered: {error}"
    return ""


def _examples(project: Project) -> dict[str, str]:
    return {name: entry["example"] for name, entry in project.catalog.data["variables"].items()}


def command_templates(project: Project) -> Iterator[Problem]:
    """A command template has the placeholders that are filled in, the options among them, and the shell can read it."""
    for name, template in project.defaults.data["commands"].items():
        key = "shell" if "shell" in template else "argv"
        words = [template["shell"]] if key == "shell" else template["argv"]
        found = [match for word in words for match in _PLACE.findall(word)]
        path: KeyPath = ("commands", name, key)
        unknown_names = sorted(set(found) - set(PLACES))
        for unknown in unknown_names:
            message, hint = f"{{{unknown}}} is not filled in", did_you_mean(unknown, list(PLACES))
            yield project.defaults.problem(path, message, hint, at_value=True)
        if "arguments" not in found and not unknown_names:
            message = "a template without {arguments} drops the options of its tasks"
            yield project.defaults.problem(
                path, message, "write {arguments} where the job's options belong", at_value=True
            )
        module = template["module"].removesuffix(".{job}")
        if not classes.has_module(module):
            message = f"there is no Python module {module!r}"
            yield project.defaults.problem(("commands", name, "module"), message, at_value=True)
        if key == "shell" and (wrong := _syntax_error(project, template["shell"])):
            yield project.defaults.problem(path, f"the shell cannot read it: {wrong}", at_value=True)
        elif key == "shell" and _goes_on(template["shell"]):
            message = "each line is a command by itself, and the next one runs though it fails"
            hint = "write >- for one line, && at the end of each, or set -e before them"
            yield project.defaults.problem(path, message, hint, at_value=True, severity="warning")


PLACES = ("job", "arguments")
_PLACE = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")


def _goes_on(shell: str) -> bool:
    """Whether a line ends a command that others follow whatever it ends with."""
    *lines, _ = shell.strip().split("\n")
    return not _STOPS.search(shell) and any(line.strip() and not _CONTINUED.search(line) for line in lines)


_STOPS = re.compile(r"\bset -[a-z]*e")
_CONTINUED = re.compile(r"(?:\\|&&|\|\|?|[({]|\b(?:do|then|else))[ \t]*$")


_UNKNOWN = re.compile(r"<[a-z][\w.]*>")  # what only a run knows is shown as


def _syntax_error(project: Project, shell: str) -> str:
    """What `sh -n` says of a template that is filled in with the catalog's examples; "" when it can be read."""
    filled = shell.replace("{job}", "job").replace("{arguments}", "--option=1")
    try:
        command = _UNKNOWN.sub("unknown", templates.render(filled, _examples(project), {}, shown=True))
    except RenderError:
        return ""  # a name that only a run, or nobody, knows
    done = subprocess.run(["sh", "-n"], input=command, capture_output=True, text=True, timeout=5, check=False)
    return done.stderr.strip().splitlines()[-1].rpartition("error: ")[2] if done.returncode else ""
