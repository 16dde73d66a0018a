"""What the Jinja in a value reads, and whether Airflow will know it."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

# Names in Airflow's template context that a pipeline may read.
CONTEXT = frozenset(
    "conn dag dag_run data_interval_end data_interval_start ds ds_nodash logical_date macros params run_id task ti "
    "ts ts_nodash var".split()
)
_FILTERS = ("ds", "ds_nodash", "ts", "ts_nodash", "shell_quote")


@dataclass
class Reads:
    """What a template reads: Airflow variables, connections, params, and any other name."""

    variables: set[str] = field(default_factory=set)
    connections: set[str] = field(default_factory=set)
    params: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@cache
def environment() -> SandboxedEnvironment:
    """Jinja as Airflow has it, with the filters that the operators add; undefined names are errors."""
    jinja = SandboxedEnvironment(undefined=jinja2.StrictUndefined)
    for name in _FILTERS:
        jinja.filters[name] = shlex.quote if name == "shell_quote" else str
    jinja.filters["ds"] = lambda moment: moment.strftime("%Y-%m-%d")
    return jinja


@cache
def reads(text: str) -> Reads:
    """What `text` reads, to be read only: cached. Raises jinja2.TemplateSyntaxError (`lineno` counts from 1)."""
    found = Reads()
    tree = environment().parse(text)
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load":
            found.names.add(node.name)
    for chain in _chains(tree):
        match chain:
            case ["var", "value" | "json", name, *_]:
                found.variables.add(name)
            case ["conn", name, *_]:
                found.connections.add(name)
            case ["params", name, *_]:
                found.params.add(name)
    return found


def _chains(tree: nodes.Template) -> Iterator[list[str]]:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        names = _chain(node)
        if names:
            yield names


def _chain(node: nodes.Node) -> list[str]:
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        inner = _chain(node.node)
        return [*inner, node.attr] if inner else []
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        inner = _chain(node.node)
        return [*inner, str(node.arg.value)] if inner else []
    return []


class _Anything(dict[str, Any]):
    """A stand-in for what only a run knows: any attribute is some text."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name, f"<{name}>")


def render(text: str, variables: dict[str, str], params: dict[str, Any]) -> str:
    """`text` as a run would render it, with these variables and params; the run itself is a stand-in of today's."""
    now = dt.datetime(2024, 1, 2, 15, tzinfo=dt.UTC)
    run = _Anything(run_after=now, run_id="<run_id>", conf={})
    return (
        environment()
        .from_string(text)
        .render(
            var={"value": variables, "json": variables},
            params=params,
            dag_run=run,
            ti=_Anything(),
            macros={"timedelta": dt.timedelta, "datetime": dt.datetime},
            ds="2024-01-02",
            ts=now.isoformat(),
            run_id="<run_id>",
            conn=_Anything(),
            dag=_Anything(),
            task=_Anything(),
            logical_date=now,
            data_interval_start=now,
            data_interval_end=now,
        )
    )
